//! Layers are unpacked by a process that can do nothing else, and whose end is noticed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use loam_testkit::hostile::Image;
use loam_tests::{Host, until};

/// An import that waits for the second half of its tar, and the process that unpacks for it.
struct Half {
    import: Child,
    stdin: ChildStdin,
    tar: Vec<u8>,
    unpacker: u32,
}

impl Half {
    fn begin(host: &Host) -> Self {
        Self::begin_with(host, &[])
    }

    fn begin_with(host: &Host, variables: &[(&str, &str)]) -> Self {
        let tar = Image::tar(&[("first", b"first"), ("second", &[b'x'; 2_000_000]), ("third", b"third")]);
        let mut import = host.loam_command(&["import", "-", "half"]);
        import
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut import = import.spawn().unwrap();
        let mut stdin = import.stdin.take().unwrap();
        stdin.write_all(&tar[..tar.len() / 2]).unwrap();
        let unpacker = until("a layer is being unpacked", || {
            let children = children(import.id());
            children.into_iter().find(|child| name(*child) == "loam-unpack" && first_file(host).is_some())
        });
        Self { import, stdin, tar, unpacker }
    }

    /// Sends the rest, and gives exit code and standard error.
    fn finish(mut self) -> (Option<i32>, String) {
        // Nobody may be left to read it.
        self.stdin.write_all(&self.tar[self.tar.len() / 2..]).ok();
        drop(self.stdin);
        let mut said = String::new();
        self.import.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.import.wait().unwrap().code(), said)
    }
}

fn children(process: u32) -> BTreeSet<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn name(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned()
}

/// The directory of the layer that is being unpacked, when its first file is there.
fn first_file(host: &Host) -> Option<PathBuf> {
    let staged = fs::read_dir(host.root().join("staging")).ok()?.next()?.ok()?.path().join("diff");
    staged.join("first").exists().then_some(staged)
}

fn identity(path: &Path) -> (u64, u64) {
    let status = fs::metadata(path).unwrap();
    (status.dev(), status.ino())
}

fn nothing_is_left(host: &Host) {
    let left = host.sh(&format!("find {0}/staging {0}/layers {0}/trash -mindepth 1", host.root().display()));
    assert_eq!(left.stdout, "");
}

/// The process's root is the layer, and the one mount that it has.
fn has_one_mount(half: &Half, staged: &Path) {
    let of = |what: &str| PathBuf::from(format!("/proc/{}/{what}", half.unpacker));
    assert_eq!(identity(&of("root")), identity(staged));
    let mounts = fs::read_to_string(of("mountinfo")).unwrap();
    let [mount] = mounts.lines().collect::<Vec<_>>()[..] else { panic!("{mounts}") };
    assert!(mount.contains("nosuid,nodev,noexec"), "{mount}");
}

#[test]
fn it_has_as_little_without_the_newer_mount_calls() {
    let host = Host::new();
    let half = Half::begin_with(&host, &[("LOAM_WITHOUT", "mount-api")]);
    has_one_mount(&half, &first_file(&host).unwrap());
    assert_eq!(half.finish(), (Some(0), String::new()));
    host.loam(&["rmi", "half"]).ok();
    host.finish();
}

#[test]
fn the_process_that_unpacks_has_nothing_but_its_layer() {
    let host = Host::new();
    let half = Half::begin(&host);
    let staged = first_file(&host).unwrap();
    let of = |what: &str| PathBuf::from(format!("/proc/{}/{what}", half.unpacker));
    has_one_mount(&half, &staged);
    let status = fs::read_to_string(of("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("{name} in {status}")).to_owned()
    };
    // chown, dac_override, fowner, fsetid, mknod, setfcap.
    let allowed = 0x8800_001b_u64;
    let held = u64::from_str_radix(&field("CapBnd"), 16).unwrap();
    assert_eq!(held & !allowed, 0, "{held:x}");
    assert_eq!([field("NoNewPrivs"), field("Seccomp")], ["1", "2"]);
    // Standard streams, the pipe, the layer, its record, and what was opened in the layer.
    for entry in fs::read_dir(of("fd")).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        let target = target.to_string_lossy();
        let known = ["socket:", "pipe:", "/dev/null"].iter().any(|known| target.starts_with(known));
        let in_layer = ["/", "/first", "/second", "/third"].contains(&&*target);
        assert!(known || in_layer || target.ends_with("/split"), "{target}");
    }
    assert!(fs::read_to_string(of("environ")).unwrap().is_empty());
    assert_eq!(half.finish(), (Some(0), String::new()));
    assert_eq!(host.loam(&["rmi", "half"]).code, 0);
    host.finish();
}

#[test]
fn an_unpacker_that_is_killed_fails_the_import_and_leaves_nothing() {
    let host = Host::new();
    let half = Half::begin(&host);
    host.sh(&format!("kill -KILL {}", half.unpacker)).ok();
    let (code, said) = half.finish();
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("gave no answer: signal 9 ended it"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    nothing_is_left(&host);
    host.finish();
}

#[test]
fn an_unpacker_ends_with_the_command_that_started_it() {
    let host = Host::new();
    let mut half = Half::begin(&host);
    half.import.kill().unwrap();
    half.import.wait().unwrap();
    until("the unpacker has ended", || (name(half.unpacker) != "loam-unpack").then_some(()));
    host.loam(&["settle"]).ok();
    nothing_is_left(&host);
    host.finish();
}

#[test]
fn without_the_program_nothing_is_unpacked() {
    let host = Host::new();
    let source = format!("oci:{}", loam_testkit::images::small().display());
    let ran = host.loam_with(&[("LOAM_UNPACK", "/nonexistent/loam-unpack")], &["pull", "--quiet", &source]);
    ran.refused(125, "the unpacker `/nonexistent/loam-unpack` can't be run");
    assert!(ran.stderr.contains("install `loam-unpack`"), "{ran:?}");
    nothing_is_left(&host);
    host.loam(&["pull", "--quiet", &source]).ok();
    host.finish();
}
