//! What a client and a shim say to each other.
//!
//! They speak over a Unix socket that keeps messages apart (`SOCK_SEQPACKET`): `shim.sock` in the container's run
//! directory, mode 0600, for peers with the shim's own user id or root. The client sends a [`Request`], the shim
//! answers with one [`Reply`], both as JSON in one packet; descriptors travel beside (`SCM_RIGHTS`). A message that is
//! too long for a packet travels as a sealed file in memory, whose descriptor comes first. A client has one request
//! under way at a time; one that waits occupies the connection alone. Both ends come from the same release: a shim is
//! of the version that launched it, and unknown requests are answered with an error.

use loam_model::oci_spec::runtime::{LinuxResources, Process};
use loam_model::{
    ArchiveRequest, ExitStatus, OnStall, ProcessTarget, ShimLaunch, ShimStatus, Stats, Streams, TerminalSize,
};
use serde::{Deserialize, Serialize};

pub(crate) use loam_packet::{MAX_DESCRIPTORS, PacketError, WireFailure, receive, send};

/// The name of the socket in the container's run directory.
pub(crate) const SOCKET_NAME: &str = "shim.sock";

/// The name of the exit record in the container's run directory.
pub(crate) const EXIT_RECORD_NAME: &str = "exit.json";

/// Which streams come as descriptors with a request, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamSet {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl StreamSet {
    /// Takes streams apart for sending.
    pub(crate) fn split(streams: Streams) -> (Self, Vec<std::os::fd::OwnedFd>) {
        let set = Self {
            stdin: streams.stdin.is_some(),
            stdout: streams.stdout.is_some(),
            stderr: streams.stderr.is_some(),
        };
        (set, [streams.stdin, streams.stdout, streams.stderr].into_iter().flatten().collect())
    }

    /// Puts streams together again; `None` when the descriptors are not as many as the set says.
    pub(crate) fn join(self, descriptors: Vec<std::os::fd::OwnedFd>) -> Option<Streams> {
        let mut descriptors = descriptors.into_iter();
        let mut take = |wanted: bool| if wanted { descriptors.next().map(Some) } else { Some(None) };
        let streams =
            Streams { stdin: take(self.stdin)?, stdout: take(self.stdout)?, stderr: take(self.stderr)? };
        descriptors.next().is_none().then_some(streams)
    }
}

/// What a client asks. See [`loam_model::Shim`] for the meaning of each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// The first packet on the connection that a shim starts with; answered when its socket exists.
    Launch(Box<ShimLaunch>),
    /// The first packet to an archive process.
    Archive(Box<ArchiveRequest>),
    Own,
    BeginCreate,
    FinishCreate,
    Keep,
    Start,
    Exec {
        process: Box<Process>,
        user: Option<String>,
        terminal: Option<TerminalSize>,
        streams: StreamSet,
    },
    Attach {
        streams: StreamSet,
        on_stall: OnStall,
    },
    Wait {
        target: ProcessTarget,
        /// Whether all output is to be handed on before the answer.
        heard: bool,
    },
    Signal {
        target: ProcessTarget,
        signal: i32,
        all: bool,
    },
    Resize {
        target: ProcessTarget,
        size: TerminalSize,
    },
    Pause,
    Resume,
    Update {
        resources: Box<LinuxResources>,
    },
    Stats,
    Status,
    ReopenLog,
    ShutDown,
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    Created(i32),
    Running(u64),
    Ended(ExitStatus),
    Stats(Box<Stats>),
    Status(Box<ShimStatus>),
    Failed(WireFailure),
}

impl Reply {
    /// The reply to a request that gives nothing back.
    pub(crate) fn from_result(result: loam_model::Result<()>) -> Self {
        match result {
            Ok(()) => Reply::Done,
            Err(failure) => Reply::Failed(WireFailure::new(&failure)),
        }
    }
}
