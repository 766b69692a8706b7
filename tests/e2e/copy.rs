//! `loam cp`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use loam_tests::Host;

#[test]
fn files_and_trees_go_in_and_out() {
    let host = Host::with_small_image();
    let scratch = host.scratch();
    std::fs::create_dir_all(scratch.join("tree/sub")).unwrap();
    std::fs::write(scratch.join("tree/sub/file"), "in a tree").unwrap();
    let at = |name: &str| scratch.join(name).display().to_string();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    host.sh(&format!("mknod {} c 1 3", at("tree/node"))).ok();
    let copied = host.loam(&["cp", &at("tree"), "c:/tmp"]);
    copied.ok();
    assert!(copied.stderr.contains("node` was left out: it is a device"), "{copied:?}");
    assert_eq!(host.loam(&["exec", "c", "cat", "/tmp/tree/sub/file"]).ok(), "in a tree");
    assert_eq!(host.loam(&["exec", "c", "stat", "-c", "%u %g", "/tmp/tree/sub/file"]).ok(), "0 0");
    host.loam(&["exec", "c", "sh", "-c", "echo made inside > /tmp/out; ln -s /etc/passwd /tmp/link"]).ok();
    host.loam(&["cp", "c:/tmp/out", &at("")]).ok();
    assert_eq!(std::fs::read_to_string(scratch.join("out")).unwrap(), "made inside\n");
    host.loam(&["stop", "-t", "0", "c"]).ok();
    host.loam(&["cp", "c:/tmp/tree", &at("back")]).ok();
    assert_eq!(std::fs::read_to_string(scratch.join("back/sub/file")).unwrap(), "in a tree");
    host.loam(&["cp", "c:/no/such/file", &at("")]).refused(125, "/no/such/file");
    host.finish();
}

#[test]
fn a_whole_root_file_system_goes_out_as_it_is() {
    let host = Host::with_small_image();
    host.loam(&["create", "--name", "c", "small", "true"]).ok();
    let into = |name: &str| host.scratch().join(name);
    std::fs::create_dir(into("there")).expect("made");
    for (source, destination) in [("c:/", "new"), ("c:/", "there"), ("c:/tmp/..", "other")] {
        host.loam(&["cp", source, &into(destination).display().to_string()]).ok();
        assert!(into(destination).join("etc/passwd").is_file(), "{source} to {destination}");
        assert!(!into(destination).join("passwd").exists(), "{source} to {destination}");
    }
    host.loam(&["rm", "c"]).ok();
    host.finish();
}

#[test]
fn a_file_goes_to_what_a_link_leads_to_and_replaces_no_device() {
    let host = Host::with_small_image();
    host.loam(&["create", "--name", "c", "small", "true"]).ok();
    let at = |name: &str| host.scratch().join(name).display().to_string();
    std::fs::write(at("real"), "old").expect("written");
    std::os::unix::fs::symlink("real", at("link")).expect("linked");
    host.loam(&["cp", "c:/etc/passwd", &at("link")]).ok();
    assert!(host.scratch().join("link").is_symlink());
    assert!(std::fs::read_to_string(at("real")).expect("read").contains("root"));
    host.sh(&format!("mknod {0} c 1 3 && mkfifo {1}", at("null"), at("pipe"))).ok();
    for name in ["null", "pipe"] {
        host.loam(&["cp", "c:/etc/passwd", &at(name)]).refused(125, &at(name));
    }
    host.loam(&["image", "save", "-o", &at("null"), "small"]).ok();
    host.sh(&format!("test -c {} && test -p {}", at("null"), at("pipe"))).ok();
    host.loam(&["rm", "c"]).ok();
    host.finish();
}

#[test]
fn links_in_the_container_lead_nowhere_on_the_host() {
    let host = Host::with_small_image();
    let scratch = host.scratch();
    std::fs::write(scratch.join("secret"), "host's").unwrap();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    let line = format!("ln -s {0} /there; ln -s {0}/secret /secret; ln -s / /up", scratch.display());
    host.loam(&["exec", "c", "sh", "-c", &line]).ok();
    std::fs::write(scratch.join("payload"), "written").unwrap();
    let _either_way = host.loam(&["cp", &format!("{}/payload", scratch.display()), "c:/there/secret"]);
    assert_eq!(std::fs::read_to_string(scratch.join("secret")).unwrap(), "host's");
    let out = host.loam(&["cp", "c:/up/secret", "-"]);
    assert!(!out.stdout.contains("host's"), "{out:?}");
    host.finish();
}

#[test]
fn a_copy_that_stalls_does_not_keep_its_container_from_removal() {
    let host = Host::with_small_image();
    for (stalls_reading, without) in [(false, ""), (true, "pidfd"), (true, "")] {
        host.loam(&["create", "--name", "c", "small", "sleep", "1000"]).ok();
        let ends = if stalls_reading { ["-", "c:/tmp"] } else { ["c:/", "-"] };
        let mut copy = host
            .loam_command(&["cp", ends[0], ends[1]])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let locks = host.root().join("containers");
        loam_tests::until("the archive process holds the lock", || {
            let container = std::fs::read_dir(&locks).ok()?.next()?.ok()?.path();
            std::fs::read_to_string(container.join("lock")).ok().filter(|text| text.ends_with('\n'))
        });
        // Others wait, and say for whom.
        let begin = Instant::now();
        let waiting = host.sh(&format!(
            "timeout 4 {} --root {} --run {} start c",
            host.loam_command(&[]).get_args().nth(4).unwrap().display(),
            host.root().display(),
            host.run_directory().display()
        ));
        assert_eq!(waiting.code, 124, "{waiting:?}");
        assert!(waiting.stderr.contains("which is changing container `c`"), "{waiting:?}");
        assert!(
            waiting.stderr.starts_with("note: waiting for process ") && waiting.stderr.lines().count() == 1
        );
        assert!(begin.elapsed() < Duration::from_secs(20));
        let begin = Instant::now();
        host.loam_with(&[("LOAM_WITHOUT", without)], &["rm", "-f", "c"]).ok();
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        // The copy learns it when its other end moves again.
        if stalls_reading {
            drop(copy.stdin.take());
        }
        let copied = copy.wait_with_output().unwrap();
        assert_eq!(copied.status.code(), Some(125), "{copied:?}");
        let said = String::from_utf8_lossy(&copied.stderr).into_owned();
        assert!(said.contains("container `c` was removed while it was copied"), "{said}");
    }
    host.finish();
}

#[test]
fn a_sparse_file_fills_no_disk() {
    let host = Host::with_small_image();
    let scratch = host.scratch();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    let line = "dd if=/dev/zero of=/tmp/some bs=1M count=0 seek=64; echo end >> /tmp/some; mkdir /tmp/tree; dd if=/dev/zero of=/tmp/tree/huge bs=1M count=0 seek=8388608";
    host.loam(&["exec", "c", "sh", "-c", line]).ok();
    host.loam(&["cp", "c:/tmp/some", &scratch.display().to_string()]).ok();
    let some = std::fs::metadata(scratch.join("some")).unwrap();
    let taken = std::os::unix::fs::MetadataExt::blocks(&some) * 512;
    assert!(some.len() == (64 << 20) + 4 && taken < 1 << 20, "{some:?}");
    let begin = Instant::now();
    host.loam(&["cp", "c:/tmp/tree", &scratch.display().to_string()]).refused(125, "tree/huge");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(!scratch.join("tree/huge").exists());
    host.finish();
}
