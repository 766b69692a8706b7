//! The runtime seam: from a container's spec to an OCI bundle, and from a bundle to processes.
//!
//! Two traits, because two processes are involved. The engine asks a [`Bundler`] for the `config.json`; the shim hands
//! that to a [`Runtime`] and keeps the processes.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxResources, Process, Spec};

use crate::{
    CgroupPlace, ContainerId, ContainerSpec, IdMapping, ImageConfig, MountPreparation, Namespace, Result,
    Stats, TerminalSize,
};

/// A file of the engine's that is mounted into the container, such as `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFile {
    /// The file on the host.
    pub source: PathBuf,
    /// Where in the container.
    pub target: String,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// All that a bundle is made from.
#[derive(Clone, Debug)]
pub struct BundleInput<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// What was asked for.
    pub spec: &'a ContainerSpec,
    /// The image's part.
    pub image: &'a ImageConfig,
    /// The container's run directory, an absolute path: the shim mounts the root file system at `rootfs` and prepared
    /// mounts below `mounts/` in it.
    pub directory: &'a Path,
    /// The ids, when the container has a user namespace.
    pub mapping: Option<&'a IdMapping>,
    /// The network namespace.
    pub network: Namespace,
    /// The cgroup, for `linux.cgroupsPath`.
    pub cgroup: &'a CgroupPlace,
    /// Files to mount: hosts, resolv.conf, hostname, loam-init.
    pub files: &'a [EngineFile],
    /// Where `loam-init` is mounted in the container, when it shall be process 1.
    pub init_program: Option<&'a str>,
}

/// A bundle: what the OCI runtime gets, and what the shim does before.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The `config.json`. `process.user` holds only numbers that are already known; see `user`.
    pub config: Spec,
    /// The user as asked for, a name or number, looked up by the shim in the mounted root file system; `None` when it
    /// is the root user.
    pub user: Option<String>,
    /// Mounts that the shim makes ready.
    pub preparations: Vec<MountPreparation>,
    /// Sentences for the person: what was asked for and had to be weakened on this host (clamped rlimits and the like).
    pub warnings: Vec<String>,
}

/// Turns specs into OCI configuration (runtime specification 1.2, config.md; image specification, conversion.md).
pub trait Bundler: Send + Sync {
    /// Makes the bundle of a container. Refuses what this host can't do when security would suffer.
    fn bundle(&self, input: &BundleInput<'_>) -> Result<Bundle>;

    /// Makes this host ready for a container with this configuration: loads what the kernel must have before, such as
    /// an AppArmor profile. Called before each start; to do it again costs little.
    fn prepare_host(&self, _config: &Spec) -> Result<()> {
        Ok(())
    }

    /// Makes the `process` of a further process from the container's own configuration. The user is looked up by the
    /// shim, as for [`Bundle::user`].
    fn process(&self, container: &Spec, spec: &crate::ProcessSpec) -> Result<Process>;

    /// Says where the cgroup of a new container shall be, and so by which driver it will be made. The answer is kept:
    /// it is what [`BundleInput::cgroup`] and [`remove_cgroup`](Self::remove_cgroup) get.
    fn cgroup(&self, id: &ContainerId) -> Result<CgroupPlace>;

    /// Removes the container's cgroups with whatever still runs in them. Success when there are none. For containers
    /// whose shim is gone.
    fn remove_cgroup(&self, cgroup: &CgroupPlace) -> Result<()>;
}

/// The standard streams of a process, to be given to it.
#[derive(Debug)]
pub enum ProcessStdio {
    /// A new terminal; its master comes back in [`CreatedProcess::terminal`].
    Terminal(TerminalSize),
    /// These three descriptors.
    Descriptors {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

/// The request to create a container.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// The bundle directory, with `config.json` and `rootfs`, for external runtimes.
    pub bundle: &'a Path,
    /// The configuration, the same as in `config.json`.
    pub spec: &'a Spec,
    /// The main process's streams.
    pub stdio: ProcessStdio,
}

/// A process that a runtime made. It is a child of the shim (which is a subreaper), so the shim waits for it.
#[derive(Debug)]
pub struct CreatedProcess {
    /// The process id as the shim sees it.
    pub pid: i32,
    /// A descriptor that names it for good.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// The request for a further process.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The process.
    pub process: &'a Process,
    /// Its streams.
    pub stdio: ProcessStdio,
}

/// A further process that was begun and may not run yet. Dropped before it runs, it is killed and taken out of the
/// process table.
pub trait StartingProcess {
    /// The process id as the shim sees it.
    fn pid(&self) -> i32;

    /// Becomes readable when [`advance`](Self::advance) has something to do.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Does what can be done without waiting; gives the process once it runs the user's program. To be called when the
    /// descriptor is readable, and now and then else: it gives up by itself when the process takes too long.
    fn advance(&mut self) -> Result<Option<CreatedProcess>>;
}

/// How far [`Runtime::begin_exec`] has come.
pub enum BegunProcess {
    /// The process runs.
    Runs(CreatedProcess),
    /// It is on its way.
    Starts(Box<dyn StartingProcess>),
}

impl std::fmt::Debug for BegunProcess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BegunProcess::Runs(process) => formatter.debug_tuple("Runs").field(process).finish(),
            BegunProcess::Starts(process) => formatter.debug_tuple("Starts").field(&process.pid()).finish(),
        }
    }
}

/// An OCI runtime with one container, inside a shim (runtime specification 1.2, runtime.md). The shim is
/// single-threaded; implementations may fork.
///
/// Life: [`create`](Self::create), [`start`](Self::start), any number of [`exec`](Self::exec), and when the main
/// process has ended, or at any time to give up, [`delete`](Self::delete). A create that fails leaves nothing behind.
/// A program that does not exist is [`crate::ErrorKind::CommandNotFound`], one that can't be run
/// [`crate::ErrorKind::CommandNotExecutable`], both from `create` or, at the latest, from `start`, and from `exec`.
pub trait Runtime {
    /// Makes everything of the container up to, but not including, the user's program. `namespaces_ready` is called
    /// with the process id as soon as the namespaces exist (so that the network can be attached meanwhile); at the
    /// latest before `create` returns.
    fn create(
        &mut self,
        request: CreateRequest<'_>,
        namespaces_ready: &mut dyn FnMut(i32),
    ) -> Result<CreatedProcess>;

    /// Lets the user's program run. Returns when it runs or has failed to.
    fn start(&mut self) -> Result<()>;

    /// Runs a further process in the container with the container's namespaces, cgroup, seccomp filter and labels.
    fn exec(&mut self, request: ExecRequest<'_>) -> Result<CreatedProcess>;

    /// The same as [`exec`](Self::exec) for a caller that has more to do than to wait: the container's processes can
    /// hold up one that is made among them.
    fn begin_exec(&mut self, request: ExecRequest<'_>) -> Result<BegunProcess> {
        self.exec(request).map(BegunProcess::Runs)
    }

    /// Sends a signal to the main process, or to every process of the container. [`crate::ErrorKind::Conflict`] when
    /// it has ended.
    fn signal(&mut self, signal: i32, all: bool) -> Result<()>;

    /// Stops every process of the container where it stands.
    fn pause(&mut self) -> Result<()>;

    /// Lets a paused container go on.
    fn resume(&mut self) -> Result<()>;

    /// Changes the limits.
    fn update(&mut self, resources: &LinuxResources) -> Result<()>;

    /// Reads the kernel's figures.
    fn stats(&mut self) -> Result<Stats>;

    /// Kills whatever of the container is left and removes all that `create` made. Idempotent.
    fn delete(&mut self) -> Result<()>;
}
