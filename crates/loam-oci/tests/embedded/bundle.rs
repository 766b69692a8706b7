//! Bundles to try, and containers made from them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use loam_model::oci_spec::runtime::Spec;
use loam_model::{ContainerId, CreateRequest, Result, Runtime};
use loam_oci::{EmbeddedRuntime, Step};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::container::{Container, Handle, Outcome, stdio};
use crate::default_config::default_config;

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
