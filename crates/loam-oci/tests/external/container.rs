//! A container of a runtime program.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loam_model::oci_spec::runtime::Process;
use loam_model::{
    BundleInput, Bundler, ContainerId, ContainerSpec, CreateRequest, CreatedProcess, ErrorKind, ExecRequest,
    IdMapping, ImageConfig, Namespace, ProcessSpec, ProcessStdio, Result, Runtime,
};
use loam_oci::{Cgroup, ExecRuntime, OciBundler, finish_process, resolve_user};
use rustix::process::{Pid, WaitOptions};

use crate::installed;

/// A shim has one container, and every child of the process is its; so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Reaps what runtimes left to this process, as a shim does between calls. The container's own processes must live.
pub(crate) fn reap_orphans() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// One container on a busybox root file system.
pub(crate) struct Container {
    _turn: MutexGuard<'static, ()>,
    directory: tempfile::TempDir,
    id: ContainerId,
    cgroup: String,
    pub(crate) runtime: ExecRuntime,
}

impl Container {
    pub(crate) fn new(program: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("a subreaper");
        let directory = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir();
        let directory = directory.expect("a temporary directory");
        let root = directory.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(name)).expect("made");
        }
        fs::copy(installed("busybox").expect("asked for"), root.join("bin/busybox")).expect("copied");
        for name in ["sh", "cat", "echo", "id", "sleep", "true", "stty", "grep"] {
            symlink("busybox", root.join("bin").join(name)).expect("linked");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:7:8::/home:/bin/sh\n")
            .expect("written");
        let mut random = [0; 32];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("random bytes");
        let id = ContainerId::from_random(random);
        let cgroup = format!("/loam-test-external/{id}");
        let runtime = ExecRuntime::new(
            program.into(),
            std::env::var("PATH").ok(),
            id.clone(),
            directory.path().to_owned(),
        );
        Self { _turn: turn, directory, id, cgroup, runtime }
    }

    pub(crate) fn create(
        &mut self,
        spec: &ContainerSpec,
        mapping: Option<&IdMapping>,
        stdio: ProcessStdio,
    ) -> Result<CreatedProcess> {
        let (image, directory) = (ImageConfig::default(), self.directory.path());
        let input = BundleInput {
            id: &self.id,
            spec,
            image: &image,
            directory,
            mapping,
            network: Namespace::New,
            cgroup: &self.cgroup.parse().expect("a place"),
            files: &[],
            init_program: None,
        };
        let bundle = OciBundler::default().bundle(&input)?;
        let mut spec = bundle.config;
        let mut process = spec.process().clone().expect("a process");
        self.finish(&mut process, bundle.user.as_deref())?;
        spec.set_process(Some(process));
        fs::write(directory.join("config.json"), serde_json::to_vec(&spec).expect("plain data"))
            .expect("written");
        let mut heard = None;
        let request = CreateRequest { id: &self.id, bundle: directory, spec: &spec, stdio };
        let created = self.runtime.create(request, &mut |pid| heard = Some(pid))?;
        assert_eq!(heard, Some(created.pid));
        Ok(created)
    }

    pub(crate) fn finish(&self, process: &mut Process, user: Option<&str>) -> Result<()> {
        let root = File::open(self.directory.path().join("rootfs")).expect("there");
        finish_process(process, resolve_user(std::os::fd::AsFd::as_fd(&root), user)?);
        Ok(())
    }

    pub(crate) fn exec(
        &mut self,
        arguments: &[&str],
        user: Option<&str>,
        stdio: ProcessStdio,
    ) -> Result<CreatedProcess> {
        let text = fs::read(self.directory.path().join("config.json")).expect("there");
        let spec = serde_json::from_slice(&text).expect("written by us");
        let terminal = matches!(stdio, ProcessStdio::Terminal(_));
        let further = ProcessSpec { arguments: words(arguments), terminal, ..ProcessSpec::default() };
        let mut process = OciBundler::default().process(&spec, &further)?;
        self.finish(&mut process, user)?;
        self.runtime.exec(ExecRequest { process: &process, stdio })
    }

    pub(crate) fn gone(&mut self) {
        self.runtime.delete().expect("deleted");
        self.runtime.delete().expect("a second deletion has nothing to do");
        assert_eq!(Cgroup::open(&self.cgroup).expect_err("gone").kind(), ErrorKind::NotFound);
        let left: Vec<_> =
            fs::read_dir(self.directory.path()).expect("there").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name == "rootfs" || name == "config.json"), "{left:?}");
    }
}

impl Drop for Container {
    /// Leaves nothing behind of a test that failed.
    fn drop(&mut self) {
        let _failed_already = self.runtime.delete();
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(crate) fn running(arguments: &[&str]) -> ContainerSpec {
    ContainerSpec { command: Some(words(arguments)), ..ContainerSpec::default() }
}

/// Streams whose output can be read here.
pub(crate) fn streams() -> (ProcessStdio, File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let stdin: OwnedFd = File::open("/dev/null").expect("there").into();
    let stderr = writer.try_clone().expect("copied");
    (ProcessStdio::Descriptors { stdin, stdout: writer, stderr }, reader.into())
}

pub(crate) fn text(mut reader: File) -> String {
    let mut bytes = Vec::new();
    // The end of a terminal is an error.
    let _end = reader.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit code of a child, 128 and more for signals. Others that end meanwhile are reaped, too: a container's first
/// process goes after all that came in by exec, and what a runtime leaves of those is this process's to reap.
pub(crate) fn code(process: &CreatedProcess) -> i32 {
    let pid = Pid::from_raw(process.pid).expect("positive");
    loop {
        let ended = rustix::process::wait(WaitOptions::empty()).expect("our child").expect("ended");
        let (child, status) = ended;
        if child == pid {
            return status
                .exit_status()
                .or(status.terminating_signal().map(|signal| 128 + signal))
                .expect("ended");
        }
    }
}
