//! Bundles to try, and containers made from them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use loam_model::oci_spec::runtime::{Process, Spec};
use loam_model::{
    ContainerId, CreateRequest, CreatedProcess, ExecRequest, ProcessStdio, Result, Runtime, TerminalSize,
};
use loam_oci::{EmbeddedRuntime, Step};
use rustix::process::{WaitId, WaitIdOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The first host id of containers with a user namespace.
pub(crate) const FIRST_ID: u32 = 100_000;

/// Makes this process what the runtime expects: subreaper, in a mount namespace of its own.
pub(crate) fn become_like_a_shim() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    loam_sys::new_mount_namespace().unwrap();
    let flags = rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).unwrap();
}

/// Removes the cgroup above those of the tests.
pub(crate) fn remove_common_cgroup() {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
        // It is not in every one, and another run may still use it.
        fs::remove_dir(hierarchy.unwrap().path().join("loam-test")).ok();
    }
}

/// A bundle whose configuration can still be changed.
pub(crate) struct Bundle {
    directory: TempDir,
    pub(crate) config: Value,
    pub(crate) terminal: bool,
    id: ContainerId,
    mounts: BTreeSet<String>,
}

const APPLETS: [&str; 24] = [
    "cat", "chmod", "cp", "dd", "echo", "env", "grep", "head", "hostname", "id", "kill", "ls", "mkdir",
    "mount", "mv", "pwd", "readlink", "rm", "sh", "sleep", "stat", "true", "tty", "wc",
];

impl Bundle {
    /// A bundle that runs a command of busybox with the configuration that engines usually write.
    pub(crate) fn new(command: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:08x}{number:08x}", std::process::id());
        let id: ContainerId = name.repeat(4).parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let config = default_config(command, &format!("/loam-test/{name}"));
        let mounts = mounts();
        Self { directory, config, terminal: false, id, mounts }
    }

    /// Gives the container a user namespace, and the files to its root.
    pub(crate) fn with_user_namespace(mut self) -> Self {
        let mapping = json!([{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]);
        self.config["linux"]["uidMappings"] = mapping.clone();
        self.config["linux"]["gidMappings"] = mapping;
        self.namespaces().push(json!({"type": "user"}));
        give_to(&self.rootfs(), FIRST_ID);
        self
    }

    /// Changes one place of the configuration, given as a JSON pointer whose parent exists.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        if let Some(place) = self.config.pointer_mut(pointer) {
            *place = value;
            return self;
        }
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.config.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    /// Adds a mount at the end.
    pub(crate) fn mount(mut self, mount: Value) -> Self {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// Takes away the mount at a place.
    pub(crate) fn without_mount(mut self, destination: &str) -> Self {
        self.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != destination);
        self
    }

    pub(crate) fn with_terminal(mut self) -> Self {
        self.terminal = true;
        self.set("/process/terminal", json!(true))
    }

    pub(crate) fn namespaces(&mut self) -> &mut Vec<Value> {
        self.config["linux"]["namespaces"].as_array_mut().unwrap()
    }

    pub(crate) fn without_namespace(mut self, kind: &str) -> Self {
        self.namespaces().retain(|namespace| namespace["type"] != kind);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    fn cgroup(&self) -> String {
        self.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned()
    }

    /// Creates the container.
    pub(crate) fn create(&self) -> Result<Container<'_>> {
        self.create_failing(None)
    }

    /// Creates the container, but lets a step fail.
    pub(crate) fn create_failing(&self, step: Option<Step>) -> Result<Container<'_>> {
        let spec: Spec = serde_json::from_value(self.config.clone()).unwrap();
        let mut runtime = EmbeddedRuntime::new(self.path().join("cache"));
        runtime.fail_at(step);
        let (stdio, output) = stdio(self.terminal);
        let request = CreateRequest { id: &self.id, bundle: self.path(), spec: &spec, stdio };
        let mut told = 0;
        let process = runtime.create(request, &mut |pid| told = pid)?;
        assert_eq!(told, process.pid, "the caller was told of the namespaces");
        Ok(Container { bundle: self, spec, runtime, process: Handle { process, output } })
    }

    /// Creates, starts, waits and deletes.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let mut container = self.create()?;
        if let Err(failure) = container.runtime.start() {
            container.delete();
            return Err(failure);
        }
        let outcome = container.process.finish();
        container.delete();
        Ok(outcome)
    }

    /// Runs the container and gives what it printed; it must end with 0.
    pub(crate) fn output(&self) -> String {
        let outcome = self.run().unwrap();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome.out
    }

    /// The same beside another container, whose processes stay.
    pub(crate) fn output_beside(&self, _other: &Container<'_>) -> String {
        let mut container = self.create().unwrap();
        container.start();
        let outcome = container.process.finish();
        container.runtime.delete().unwrap();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome.out
    }

    /// Checks that nothing of the container is left: no process, cgroup or mount.
    pub(crate) fn check_gone(&self) {
        let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        assert_eq!(child.unwrap_err(), rustix::io::Errno::CHILD, "a process is left");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let left = hierarchy.unwrap().path().join(self.cgroup().trim_start_matches('/'));
            assert!(!left.exists(), "{} is left", left.display());
        }
        assert_eq!(mounts(), self.mounts, "mounts are left");
    }
}

/// A created container.
pub(crate) struct Container<'a> {
    bundle: &'a Bundle,
    pub(crate) spec: Spec,
    pub(crate) runtime: EmbeddedRuntime,
    pub(crate) process: Handle,
}

impl Container<'_> {
    pub(crate) fn start(&mut self) {
        self.runtime.start().unwrap();
    }

    /// Runs a further process to its end.
    pub(crate) fn exec(&mut self, change: impl FnOnce(&mut Value)) -> Result<Outcome> {
        Ok(self.spawn(false, change)?.finish())
    }

    /// Runs a further process: the main one's configuration, with changes.
    pub(crate) fn spawn(&mut self, terminal: bool, change: impl FnOnce(&mut Value)) -> Result<Handle> {
        let mut process = serde_json::to_value(self.spec.process().as_ref().unwrap()).unwrap();
        process["terminal"] = json!(terminal);
        change(&mut process);
        let process: Process = serde_json::from_value(process).unwrap();
        let (stdio, output) = stdio(terminal);
        let process = self.runtime.exec(ExecRequest { process: &process, stdio })?;
        Ok(Handle { process, output })
    }

    /// Kills and deletes the container, and checks that nothing is left.
    pub(crate) fn delete(mut self) {
        self.runtime.signal(9, false).ok();
        self.process.reap();
        self.runtime.delete().unwrap();
        self.runtime.delete().unwrap();
        self.bundle.check_gone();
    }
}

/// A process that runs.
pub(crate) struct Handle {
    pub(crate) process: CreatedProcess,
    output: Option<(File, File)>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its code, or 128 and its signal.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Handle {
    /// Reads all that the process prints, and waits for its end.
    pub(crate) fn finish(&mut self) -> Outcome {
        let (mut out, mut err) = (String::new(), String::new());
        match (&mut self.output, &self.process.terminal) {
            (Some((stdout, stderr)), _) => {
                stdout.read_to_string(&mut out).unwrap();
                stderr.read_to_string(&mut err).unwrap();
            }
            (None, Some(terminal)) => {
                let mut bytes = Vec::new();
                // A terminal that nobody has open any more fails with EIO.
                File::from(terminal.try_clone().unwrap()).read_to_end(&mut bytes).ok();
                out = String::from_utf8(bytes).unwrap().replace('\r', "");
            }
            (None, None) => {}
        }
        Outcome { code: self.reap().expect("a process ends once"), out, err }
    }

    /// Reads from the process's output until it has printed this line.
    pub(crate) fn wait_for_line(&mut self, line: &str) {
        self.read_to_line(line);
    }

    /// The same, and gives all that was read.
    pub(crate) fn read_to_line(&mut self, line: &str) -> String {
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with(&format!("{line}\n")) {
            let (stdout, _) = self.output.as_mut().expect("there is no terminal");
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{line} was not printed: {text}");
            text.push(byte[0].into());
        }
        text
    }

    /// Waits for the end; `None` when that was done before.
    pub(crate) fn reap(&self) -> Option<i32> {
        let pidfd = self.process.pidfd.as_fd();
        let status = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).ok()??;
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    }
}

/// A line of `/proc/PID/status`.
pub(crate) fn status_of(pid: i32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
}

fn stdio(terminal: bool) -> (ProcessStdio, Option<(File, File)>) {
    if terminal {
        return (ProcessStdio::Terminal(TerminalSize { rows: 24, columns: 80 }), None);
    }
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let ((out, stdout), (err, stderr)) = (pipe(), pipe());
    let stdin: OwnedFd = File::open("/dev/null").unwrap().into();
    (ProcessStdio::Descriptors { stdin, stdout, stderr }, Some((File::from(out), File::from(err))))
}

/// Gives a tree to an id.
pub(crate) fn give_to(tree: &Path, id: u32) {
    lchown(tree, Some(id), Some(id)).unwrap();
    if tree.is_dir() && !tree.is_symlink() {
        for entry in fs::read_dir(tree).unwrap() {
            give_to(&entry.unwrap().path(), id);
        }
    }
}

/// The mounts of this process's namespace, without what differs from time to time.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().map(|line| line.split(' ').skip(2).take(3).collect::<Vec<_>>().join(" ")).collect()
}

fn default_config(command: &[&str], cgroup: &str) -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "loam-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["ro", "nosuid", "noexec", "nodev"]},
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"},
            ],
            "rootfsPropagation": "rprivate",
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/timer_list",
                "/proc/scsi", "/proc/tty", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
