//! The shim as the engine sees it: a process that stays with one container.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxResources, Process};
use serde::{Deserialize, Serialize};

use crate::{
    ContainerId, ExitRecord, ExitStatus, MountPreparation, ProcessTarget, Result, RootfsPlan, RuntimeChoice,
    Stats, TerminalSize,
};

/// All that a shim needs to know. It is handed over in a file in memory, never on a command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShimLaunch {
    /// The container.
    pub id: ContainerId,
    /// The container's run directory, absolute, mode 0711: `config.json` is there; the shim makes `shim.sock` (0600),
    /// `exit.json` and, in its own mount namespace, mounts `rootfs` and `mounts/…`.
    pub directory: PathBuf,
    /// The root file system.
    pub rootfs: RootfsPlan,
    /// The directories that the image calls its volumes, made where they are missing.
    pub volumes: Vec<String>,
    /// Mounts to make ready.
    pub preparations: Vec<MountPreparation>,
    /// The user to look up in the root file system, for `process.user`.
    pub user: Option<String>,
    /// The main process's terminal, if it gets one, and its first size.
    pub terminal: Option<TerminalSize>,
    /// Whether standard input is a pipe kept open for clients, rather than `/dev/null`.
    pub open_stdin: bool,
    /// The log file, in the CRI log format (`TIME STREAM F|P LINE`); none is kept when absent.
    pub log: Option<PathBuf>,
    /// The OCI runtime.
    pub runtime: RuntimeChoice,
    /// What the shim runs when the main process has ended and no owner is connected (see [`Shim::own`]): a program
    /// and its arguments. It brings the engine's state up to date.
    pub on_exit: Vec<String>,
}

/// What a shim says of its container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShimStatus {
    /// The process id of the main process on the host, as long as it lives.
    pub pid: Option<i32>,
    /// Whether it was started (it may have ended since).
    pub started: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// How it ended, when it has.
    pub exit: Option<ExitRecord>,
    /// Ids of later processes that still run.
    pub execs: Vec<u64>,
}

/// The caller's ends of a process's streams: pipes that the shim reads from and writes to. A stream that is absent is
/// not attached. With a terminal, all output comes on `stdout`.
#[derive(Debug, Default)]
pub struct Streams {
    /// The reading end of a pipe: what comes here goes to the process. Its end closes the process's standard input
    /// unless others hold it open (a terminal is not closed).
    pub stdin: Option<OwnedFd>,
    /// The writing end of a pipe.
    pub stdout: Option<OwnedFd>,
    /// The writing end of a pipe.
    pub stderr: Option<OwnedFd>,
}

/// What the shim does with an attached client that does not take its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStall {
    /// Waits, and so holds back the container: for the one who runs it in the foreground.
    Block,
    /// Lets it go after ten seconds without progress: for onlookers.
    Drop,
}

/// Which way an archive goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveDirection {
    /// A path of the container becomes a tar stream.
    Out,
    /// A tar stream is unpacked below a path of the container.
    In,
}

/// The request to copy files out of or into a container's file system, as tar streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveRequest {
    /// The container.
    pub id: ContainerId,
    /// The process id of its main process, when it runs: then its own mounts are seen too.
    pub pid: Option<i32>,
    /// When that process was started, in clock ticks since boot (proc(5), `/proc/PID/stat`, field 22). A process with
    /// this id that was started at another time is somebody else's, and is refused.
    pub start_time: Option<u64>,
    /// Its root file system, for one that does not run.
    pub rootfs: RootfsPlan,
    /// The path in the container. `Out`: the file or directory (entries are named from its last component). `In`: the
    /// directory to unpack into, which must exist.
    pub path: String,
    /// Which way.
    pub direction: ArchiveDirection,
}

/// What keeps others from a container as long as an archive process has its file system mounted, and no longer: however
/// long the other end of the stream takes, ending that process sets the container free.
pub struct ArchiveHold<'a> {
    /// The archive process keeps it open until it ends; the caller has no other.
    pub descriptor: OwnedFd,
    /// Is told the archive process's id before it can be in anybody's way.
    pub started: &'a mut (dyn FnMut(i32) + Send),
}

impl std::fmt::Debug for ArchiveHold<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ArchiveHold").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

/// Launches shims and finds them again.
pub trait Supervisor: Send + Sync {
    /// Starts a shim for a container. It has made its socket when this returns, and nothing of the container yet.
    fn launch(&self, launch: &ShimLaunch) -> Result<Box<dyn Shim>>;

    /// Connects to the shim of a container; `None` when none lives.
    fn connect(&self, id: &ContainerId) -> Result<Option<Box<dyn Shim>>>;

    /// Reads how the container's main process ended, from what its shim left behind. `None` when it left nothing.
    fn exit_record(&self, id: &ContainerId) -> Result<Option<ExitRecord>>;

    /// Copies a path of a container out as tar: `sink` gets the stream. `hold` is there for one that does not run.
    fn archive_out(
        &self,
        request: &ArchiveRequest,
        hold: Option<ArchiveHold<'_>>,
        sink: &mut (dyn Write + Send),
    ) -> Result<()>;

    /// Unpacks a tar stream below a path of a container. `hold` is there for one that does not run.
    fn archive_in(
        &self,
        request: &ArchiveRequest,
        hold: Option<ArchiveHold<'_>>,
        source: &mut (dyn Read + Send),
    ) -> Result<()>;
}

/// One connection to a shim. A call that waits occupies its connection; other connections go on meanwhile.
pub trait Shim: Send {
    /// Makes this connection the owner: when the main process ends while it is open, the shim leaves tidying up to
    /// the owner and does not run `on_exit`; when it closes before [`Shim::shut_down`], `on_exit` is run.
    fn own(&mut self) -> Result<()>;

    /// Mounts the root file system and makes the container, up to the user's program. Returns as soon as its
    /// namespaces exist, with the process id of the main process, so that the network can be attached meanwhile.
    fn begin_create(&mut self) -> Result<i32>;

    /// Waits until the creation that [`Shim::begin_create`] began has succeeded or failed. On failure the shim has
    /// undone everything and ends.
    fn finish_create(&mut self) -> Result<()>;

    /// Hands descriptors to the shim to keep open as long as the container lives (reserved ports).
    fn keep(&mut self, descriptors: Vec<OwnedFd>) -> Result<()>;

    /// Lets the user's program run.
    fn start(&mut self) -> Result<()>;

    /// Runs a further process with these streams attached (`Block`), and gives its id.
    fn exec(
        &mut self,
        process: &Process,
        user: Option<&str>,
        terminal: Option<TerminalSize>,
        streams: Streams,
    ) -> Result<u64>;

    /// Attaches streams to the main process; output goes to every attached client. Before the start, nothing of the
    /// output is missed.
    fn attach(&mut self, streams: Streams, on_stall: OnStall) -> Result<()>;

    /// Waits for the end of a process, and until all its output has been written to the attached streams and the log.
    fn wait(&mut self, target: &ProcessTarget) -> Result<ExitStatus>;

    /// Waits for the end of the main process alone: its output may still be on its way to a client that does not read.
    fn wait_ended(&mut self) -> Result<ExitStatus>;

    /// Sends a signal to a process, or with `all` to every process of the container.
    fn signal(&mut self, target: &ProcessTarget, signal: i32, all: bool) -> Result<()>;

    /// Tells a terminal its size.
    fn resize(&mut self, target: &ProcessTarget, size: TerminalSize) -> Result<()>;

    /// Stops every process where it stands.
    fn pause(&mut self) -> Result<()>;

    /// Lets a paused container go on.
    fn resume(&mut self) -> Result<()>;

    /// Changes the limits.
    fn update(&mut self, resources: &LinuxResources) -> Result<()>;

    /// Reads the kernel's figures.
    fn stats(&mut self) -> Result<Stats>;

    /// Says how the container is.
    fn status(&mut self) -> Result<ShimStatus>;

    /// Opens the log file anew, after it was moved away.
    fn reopen_log(&mut self) -> Result<()>;

    /// Kills what is left of the container, removes all that the runtime made, and ends the shim. Returns when the
    /// shim's mounts are gone.
    fn shut_down(&mut self) -> Result<()>;

    /// Kills a shim that does not answer, and waits for its end; only over a connection from
    /// [`Supervisor::connect`]. The container's processes live on.
    fn kill(&mut self) -> Result<()>;
}
