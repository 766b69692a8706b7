//! A container of busybox in directories of its own.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use loam_model::{
    ArchiveDirection, ArchiveRequest, BundleInput, Bundler, CgroupPlace, ContainerId, ContainerSpec,
    IdMapping, ImageConfig, Namespace, RootfsPlan, RuntimeChoice, Shim, ShimLaunch, Streams, Supervisor,
    TerminalSize,
};
use loam_shim::ShimSupervisor;

const BUSYBOX: &str = "/usr/bin/busybox";

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// Whether the tests can run at all; says so when not.
pub(crate) fn is_possible(test: &str) -> bool {
    let possible = rustix::process::geteuid().is_root() && Path::new(BUSYBOX).exists();
    if !possible {
        println!("skipped: {test}: needs root and busybox-static");
    }
    possible
}

/// Returns from the test when it can't run.
macro_rules! needs_root {
    () => {
        let name = std::any::type_name_of_val(&|| ()).trim_end_matches("::{{closure}}");
        if !crate::fixture::is_possible(name) {
            return;
        }
    };
}
pub(crate) use needs_root;

/// A machine with one container that is not launched yet.
pub(crate) struct Fixture {
    pub(crate) base: tempfile::TempDir,
    pub(crate) supervisor: ShimSupervisor,
    pub(crate) launch: ShimLaunch,
    pub(crate) spec: ContainerSpec,
    /// Whether the configuration names no resource limits.
    pub(crate) without_limits: bool,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Fixture {
    /// Makes the layers and directories for a container that runs this script.
    pub(crate) fn new(script: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id: ContainerId = format!("{:032x}{:032x}", std::process::id(), number).parse().unwrap();
        let path = |name: &str| base.path().join(name);
        let directory = path("run").join("containers").join(id.as_str());
        for made in [path("low/bin"), path("low/tmp"), path("high"), path("snap/upper"), path("snap/work")] {
            std::fs::create_dir_all(made).unwrap();
        }
        for made in [path("run"), path("run/containers"), directory.clone()] {
            std::fs::create_dir_all(&made).unwrap();
            std::fs::set_permissions(made, PermissionsExt::from_mode(0o711)).unwrap();
        }
        make_busybox(&path("low"));
        let rootfs = RootfsPlan {
            lower: vec![path("high"), path("low")],
            upper: Some(path("snap/upper")),
            work: Some(path("snap/work")),
            disk: None,
            limit: None,
            mapping: Some(IdMapping::contiguous(0x4000_0000, 65_536)),
            volatile: false,
        };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_loam-shim"));
        let supervisor = ShimSupervisor::new(program, path("run"));
        let launch = ShimLaunch {
            id,
            log: Some(path("log")),
            directory,
            rootfs,
            volumes: Vec::new(),
            preparations: Vec::new(),
            user: None,
            terminal: None,
            open_stdin: false,
            runtime: RuntimeChoice::Embedded,
            on_exit: Vec::new(),
        };
        let command = Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        let spec = ContainerSpec { command, ..ContainerSpec::default() };
        Self { base, supervisor, launch, spec, without_limits: false }
    }

    pub(crate) fn with_terminal(mut self) -> Self {
        self.launch.terminal = Some(TerminalSize { rows: 24, columns: 80 });
        self.spec.terminal = true;
        self.with_stdin()
    }

    pub(crate) fn with_stdin(mut self) -> Self {
        self.launch.open_stdin = true;
        self.spec.open_stdin = true;
        self
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.launch.directory
    }

    fn write_bundle(&mut self) {
        let bundler = loam_oci::OciBundler::default();
        let bundle = bundler.bundle(&BundleInput {
            id: &self.launch.id,
            spec: &self.spec,
            image: &ImageConfig { environment: vec!["PATH=/bin".to_owned()], ..ImageConfig::default() },
            directory: &self.launch.directory,
            mapping: self.launch.rootfs.mapping.as_ref(),
            network: Namespace::New,
            cgroup: &CgroupPlace::Path(format!("/loam-shim-{}", self.launch.id)),
            files: &[],
            init_program: None,
        });
        let mut bundle = bundle.unwrap();
        if let Some(process) = bundle.config.process_mut().as_mut().filter(|_| self.without_limits) {
            process.set_rlimits(None);
        }
        let text = serde_json::to_vec(&bundle.config).unwrap();
        std::fs::write(self.launch.directory.join("config.json"), text).unwrap();
    }

    /// Launches the shim.
    pub(crate) fn launch(mut self) -> Running {
        self.write_bundle();
        let shim = self.supervisor.launch(&self.launch).unwrap();
        Running { fixture: self, shim: Some(shim), pid: 0 }
    }

    /// Launches and creates.
    pub(crate) fn create(self) -> Running {
        let mut running = self.launch();
        running.pid = running.shim().begin_create().unwrap();
        running.shim().finish_create().unwrap();
        running
    }

    pub(crate) fn archive(
        &self,
        path: &str,
        direction: ArchiveDirection,
        pid: Option<i32>,
    ) -> ArchiveRequest {
        ArchiveRequest {
            id: self.launch.id.clone(),
            pid,
            start_time: pid.and_then(rustix::process::Pid::from_raw).and_then(loam_sys::start_time),
            rootfs: self.launch.rootfs.clone(),
            path: path.to_owned(),
            direction,
        }
    }
}

fn make_busybox(root: &Path) {
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for name in
        ["sh", "cat", "echo", "dd", "sleep", "stty", "tty", "id", "ls", "kill", "touch", "ln", "mv", "mkdir"]
    {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    std::fs::create_dir(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/home:/bin/sh\n")
        .unwrap();
    std::fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
}

/// A launched container, shut down in the end.
pub(crate) struct Running {
    pub(crate) fixture: Fixture,
    shim: Option<Box<dyn Shim>>,
    pub(crate) pid: i32,
}

impl Running {
    pub(crate) fn shim(&mut self) -> &mut dyn Shim {
        self.shim.as_mut().unwrap().as_mut()
    }

    /// A further connection.
    pub(crate) fn connect(&self) -> Option<Box<dyn Shim>> {
        self.fixture.supervisor.connect(&self.fixture.launch.id).unwrap()
    }

    /// Closes the first connection, as the kernel does for a client that is killed.
    pub(crate) fn disconnect(&mut self) {
        self.shim = None;
    }

    /// The process id of the shim: the parent of the container's first process.
    pub(crate) fn shim_pid(&self) -> i32 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.fixture.launch.log.as_ref().unwrap()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let shim = self.shim.take().or_else(|| self.connect());
        let Some(mut shim) = shim else { return };
        let down = shim.shut_down();
        if !std::thread::panicking() {
            down.unwrap();
            assert!(!Path::new(&format!("/proc/{}", self.pid)).exists() || self.pid == 0);
        }
    }
}

/// A pipe: reading end, writing end.
pub(crate) fn pipe() -> (File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (File::from(read), write)
}

/// Streams for both outputs, and the ends to read them from.
pub(crate) fn outputs() -> (Streams, File, File) {
    let ((out, stdout), (err, stderr)) = (pipe(), pipe());
    (Streams { stdin: None, stdout: Some(stdout), stderr: Some(stderr) }, out, err)
}

pub(crate) fn read_all(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "it never came that {what}");
        std::thread::yield_now();
    }
}
