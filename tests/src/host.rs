//! A private host: mount and network namespaces, a state and a run directory. When a test is over, its containers are
//! removed and the host is searched for anything that stayed behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::alone::Present;

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// The exit code, 128 and the signal when it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// What a program came to.
    pub fn of(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Standard output of a command that had to succeed, without the last newline.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout.trim_end()
    }

    /// Checks the exit code of a command that had to fail, and that it said one sentence naming `thing`.
    #[track_caller]
    pub fn refused(&self, code: i32, thing: &str) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        let sentences: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("loam: ")).collect();
        assert_eq!(sentences.len(), 1, "one sentence is wanted: {self:#?}");
        assert!(sentences[0].contains(thing), "the sentence does not name {thing:?}: {self:#?}");
        self
    }
}

/// A private host.
#[derive(Debug)]
pub struct Host {
    directory: tempfile::TempDir,
    holder: Child,
    containers: std::sync::Mutex<BTreeSet<String>>,
    checked: bool,
    _present: Present,
}

/// What the process that holds the namespaces does: loopback up, no empty unified cgroup tree (crun refuses it beside
/// v1 hierarchies), then wait until the test closes its standard input.
const HOLD: &str =
    "ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec cat >/dev/null";

impl Host {
    /// Makes a host. Needs root.
    pub fn new() -> Self {
        crate::needs::record_run();
        let present = Present::enter();
        let directory =
            tempfile::Builder::new().prefix("loam-e2e-").tempdir().expect("a temporary directory");
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "slave", "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().expect("piped"))
            .read_line(&mut line)
            .expect("the host answers");
        assert_eq!(line.trim(), "ready");
        Self { directory, holder, containers: std::sync::Mutex::default(), checked: false, _present: present }
    }

    /// A host whose store has the small image (Debian's busybox) under the name `small`.
    pub fn with_small_image() -> Self {
        let host = Self::new();
        host.load_small_image();
        host
    }

    /// Puts the small image into the store.
    pub fn load_small_image(&self) {
        self.loam(&["pull", "--quiet", &format!("oci:{}", loam_testkit::images::small().display())]).ok();
        self.loam(&["tag", self.loam(&["images", "-q"]).ok(), "small"]).ok();
    }

    /// The path by which this process reaches what has this path on the host, its mounts included.
    pub fn path_from_outside(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), path.display()))
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> PathBuf {
        let path = self.directory.path().join("scratch");
        fs::create_dir_all(&path).expect("a directory can be made");
        path
    }

    /// The state directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The run directory.
    pub fn run_directory(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// The command that runs a program on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--target={}", self.holder.id()), "--net", "--mount", "--", program]);
        command.stdin(Stdio::null());
        command
    }

    /// The command that runs `loam` with this host's state.
    pub fn loam_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&program("loam"));
        command.args([
            "--root",
            &self.root().display().to_string(),
            "--run",
            &self.run_directory().display().to_string(),
        ]);
        command.args(arguments);
        command
    }

    /// Runs `loam`.
    pub fn loam(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.loam_command(arguments).output().expect("loam runs"))
    }

    /// Runs `loam` with these environment variables.
    pub fn loam_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.loam_command(arguments);
        command.envs(variables.iter().copied());
        Ran::of(&command.output().expect("loam runs"))
    }

    /// Runs `loam` with this host's state on the network of the machine, where the test's own registries listen.
    pub fn loam_outside(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.loam_outside_command(arguments).output().expect("loam runs"))
    }

    /// The same with these environment variables and this standard input.
    pub fn loam_outside_with(&self, variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Ran {
        let mut command = self.loam_outside_command(arguments);
        let child = command.envs(variables.iter().copied()).stdin(Stdio::piped());
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("loam runs");
        // A program that does not read to the end is not this writer's business.
        let _unread = child.stdin.take().expect("piped").write_all(input.as_bytes()).is_err();
        Ran::of(&child.wait_with_output().expect("loam ends"))
    }

    /// The command that runs `loam` with this host's state on the network of the machine.
    pub fn loam_outside_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--target={}", self.holder.id()), "--mount", "--", &program("loam")]);
        command.args([
            "--root",
            &self.root().display().to_string(),
            "--run",
            &self.run_directory().display().to_string(),
        ]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// The command that runs the GrootFS door on this host and the network of the machine.
    pub fn grootfs_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            &format!("--target={}", self.holder.id()),
            "--mount",
            "--",
            &program("loam"),
            "grootfs",
        ]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `loam` with this standard input.
    pub fn loam_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .loam_command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("loam runs");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A program that does not read to the end is not this writer's business.
            let _closed_early = stdin.write_all(&input).is_err();
        });
        let output = child.wait_with_output().expect("loam ends");
        writer.join().expect("the writer ends");
        Ran::of(&output)
    }

    /// Runs a shell command line on the host.
    pub fn sh(&self, line: &str) -> Ran {
        Ran::of(&self.command("sh").args(["-c", line]).output().expect("sh runs"))
    }

    /// Starts a container in the background and gives its id.
    pub fn start(&self, arguments: &[&str]) -> String {
        let id = self.loam(&[&["run", "-d"], arguments].concat()).ok().to_owned();
        self.containers.lock().expect("no test panics with the lock").insert(id.clone());
        id
    }

    /// `loam inspect`, one object.
    pub fn inspect(&self, container: &str) -> Value {
        let text = self.loam(&["inspect", container]).ok().to_owned();
        let value: Value = serde_json::from_str(&text).expect("inspect prints JSON");
        value.as_array().and_then(|list| list.first()).cloned().unwrap_or(value)
    }

    /// The process id of a container's main process on the host.
    pub fn pid(&self, container: &str) -> u64 {
        let detail = self.inspect(container);
        detail["pid"]
            .as_u64()
            .or_else(|| detail["state"]["pid"].as_u64())
            .expect("a running container has a pid")
    }

    /// The process id of a running container's shim on the host, which is its main process's parent.
    pub fn shim(&self, container: &str) -> u64 {
        let pid = self.pid(container);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        parent.expect("every process has a parent")
    }

    /// Removes every container and fails when anything of them stayed behind.
    pub fn finish(mut self) {
        self.checked = true;
        let listed = self.loam(&["ps", "-a", "-q", "--no-trunc"]).ok().to_owned();
        let mut ids = self.containers.lock().expect("no test panics with the lock").clone();
        ids.extend(listed.lines().map(str::to_owned));
        for id in listed.lines() {
            self.loam(&["rm", "-f", id]).ok();
        }
        let left = crate::wait::nothing_left(|| self.leftovers(&ids));
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// Everything on the host that belongs to containers that are gone.
    fn leftovers(&self, ids: &BTreeSet<String>) -> Vec<String> {
        let mut left = Vec::new();
        for directory in ["root/containers", "root/snapshots", "run/containers"] {
            let directory = self.directory.path().join(directory);
            left.extend(entries(&directory).into_iter().map(|path| format!("file {}", path.display())));
        }
        let place = self.directory.path().display().to_string();
        for pid in processes() {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&place) && command.contains("loam") && !command.starts_with("nsenter") {
                left.push(format!("process {pid}: {command}"));
            }
        }
        for source in ["/proc/self/mountinfo".to_owned(), format!("/proc/{}/mountinfo", self.holder.id())] {
            let mounts = fs::read_to_string(&source).unwrap_or_default();
            left.extend(
                mounts.lines().filter(|line| line.contains(&place)).map(|line| format!("mount {line}")),
            );
        }
        for device in entries(Path::new("/sys/block")) {
            // The path is that of the file's own mount, which need not be seen from here.
            let file = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
            if ids.iter().any(|id| file.contains(id)) {
                left.push(format!("loop device {} with {}", device.display(), file.trim()));
            }
        }
        for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
            // Below the root, or a scope of systemd's in a slice.
            let ours = ids
                .iter()
                .flat_map(|id| [format!("loam-{id}"), format!("loam-{id}.scope")])
                .map(|name| hierarchy.join(name));
            left.extend(ours.filter(|path| path.exists()).map(|path| format!("cgroup {}", path.display())));
        }
        let links = self.sh("ip -o link show type veth").stdout;
        left.extend(links.lines().map(|line| format!("link {line}")));
        let leases = self.sh(&format!("find '{place}/root/network/addresses' -name '[0-9]*.[0-9]*'")).stdout;
        left.extend(leases.lines().map(|line| format!("lease {line}")));
        let cache = self.sh(&format!("find '{place}'/root/network/attachments '{place}'/root/network/results '{place}'/root/network/calls '{place}/run/cni/ports' -type f")).stdout;
        left.extend(cache.lines().map(|line| format!("attachment {line}")));
        left
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.checked {
            // The test failed or did not care: containers must not outlive it.
            let listed = self.loam(&["ps", "-a", "-q", "--no-trunc"]).stdout;
            for id in listed.lines() {
                let _gone = self.loam(&["rm", "-f", id]).code;
            }
            if !std::thread::panicking() {
                panic!("a test must end with `host.finish()`");
            }
        }
        drop(self.holder.stdin.take());
        let mut rest = String::new();
        if let Some(stdout) = self.holder.stdout.as_mut() {
            let _closed = stdout.read_to_string(&mut rest).is_err();
        }
        let _reaped = self.holder.wait().is_ok();
    }
}

/// The path of a built program.
pub fn program(name: &str) -> String {
    let directory = std::env::var("LOAM_PROGRAMS").expect("run the end-to-end tests with ./x test");
    format!("{directory}/{name}")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn processes() -> Vec<u32> {
    let names = entries(Path::new("/proc"));
    names.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}
