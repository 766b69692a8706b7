//! A connection to one shim.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use loam_model::oci_spec::runtime::{LinuxResources, Process};
use loam_model::{
    ContainerId, ErrorKind, ExitStatus, Failure, OnStall, ProcessTarget, Result, Shim, ShimStatus, Stats,
    Streams, TerminalSize,
};
use loam_sys::HeldProcess;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::Shutdown;

use crate::protocol::{self, MAX_DESCRIPTORS, PacketError, Reply, Request, StreamSet};

/// How long a shim may take to answer what it does at once.
pub(super) const PROMPT: Duration = Duration::from_secs(60);

/// How long it may take for what the runtime, with hooks, or the container's end may hold up.
const LONG: Duration = Duration::from_secs(180);

/// `SIGKILL`.
const KILL: i32 = 9;

/// How long a killed shim may take to end.
const DEATH: Duration = Duration::from_secs(10);

/// A client's end of a connection to a shim.
#[derive(Debug)]
pub(super) struct ShimConnection {
    socket: OwnedFd,
    id: ContainerId,
}

impl ShimConnection {
    pub(super) fn new(socket: OwnedFd, id: ContainerId) -> Self {
        Self { socket, id }
    }

    fn ask(&self, request: &Request, descriptors: &[OwnedFd]) -> Result<Reply> {
        match self.exchange(request, descriptors) {
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Ok(reply) => Ok(reply),
            Err(PacketError::Closed) => {
                let message = format!("the shim of container `{}` is gone", self.id);
                Err(Failure::new(ErrorKind::Unavailable, message))
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Asks, and waits for the answer. [`PacketError::NothingYet`] when none has come in time.
    fn exchange(
        &self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> std::result::Result<Reply, PacketError> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        match protocol::send(self.socket.as_fd(), request, &descriptors) {
            // A shim that takes no more clients has said so.
            Err(PacketError::Closed) => return Ok(protocol::receive(self.socket.as_fd())?.0),
            sent => sent?,
        }
        if let Some(limit) = time_limit(request)
            && !wait_for(&self.socket, limit)?
        {
            // An answer that comes later must not be taken for one to the next question.
            rustix::net::shutdown(&self.socket, Shutdown::Both)?;
            return Err(PacketError::NothingYet);
        }
        Ok(protocol::receive(self.socket.as_fd())?.0)
    }

    fn failure(&self, error: PacketError) -> Failure {
        if matches!(error, PacketError::NothingYet) {
            let message = format!("the shim of container `{}` does not answer", self.id);
            return Failure::new(ErrorKind::Unavailable, message);
        }
        let message = format!("the shim of container `{}` can't be asked", self.id);
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    }

    fn unexpected(&self) -> Failure {
        let message = format!("the shim of container `{}` gave an answer to another question", self.id);
        Failure::new(ErrorKind::Internal, message)
    }

    fn wait_for_end(&self, target: ProcessTarget, heard: bool) -> Result<ExitStatus> {
        match self.ask(&Request::Wait { target, heard }, &[])? {
            Reply::Ended(status) => Ok(status),
            _ => Err(self.unexpected()),
        }
    }

    fn command(&self, request: &Request) -> Result<()> {
        self.command_with(request, &[])
    }

    fn command_with(&self, request: &Request, descriptors: &[OwnedFd]) -> Result<()> {
        match self.ask(request, descriptors)? {
            Reply::Done => Ok(()),
            _ => Err(self.unexpected()),
        }
    }
}

/// How long the answer to a request may take; the end of a process may take any time.
fn time_limit(request: &Request) -> Option<Duration> {
    match request {
        Request::Wait { .. } => None,
        Request::FinishCreate | Request::Start | Request::Exec { .. } | Request::ShutDown => Some(LONG),
        _ => Some(PROMPT),
    }
}

/// Waits until there is something to read, or the end; whether there is.
pub(super) fn wait_for(descriptor: &OwnedFd, limit: Duration) -> std::result::Result<bool, Errno> {
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: limit.subsec_nanos().into() };
    let mut polls = [PollFd::new(descriptor, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polls, Some(&limit))).map(|count| count > 0)
}

impl Shim for ShimConnection {
    fn own(&mut self) -> Result<()> {
        self.command(&Request::Own)
    }

    fn begin_create(&mut self) -> Result<i32> {
        match self.ask(&Request::BeginCreate, &[])? {
            Reply::Created(pid) => Ok(pid),
            _ => Err(self.unexpected()),
        }
    }

    fn finish_create(&mut self) -> Result<()> {
        self.command(&Request::FinishCreate)
    }

    fn keep(&mut self, descriptors: Vec<OwnedFd>) -> Result<()> {
        descriptors.chunks(MAX_DESCRIPTORS).try_for_each(|some| self.command_with(&Request::Keep, some))
    }

    fn start(&mut self) -> Result<()> {
        self.command(&Request::Start)
    }

    fn exec(
        &mut self,
        process: &Process,
        user: Option<&str>,
        terminal: Option<TerminalSize>,
        streams: Streams,
    ) -> Result<u64> {
        let (streams, descriptors) = StreamSet::split(streams);
        let process = Box::new(process.clone());
        let request = Request::Exec { process, user: user.map(str::to_owned), terminal, streams };
        match self.ask(&request, &descriptors)? {
            Reply::Running(id) => Ok(id),
            _ => Err(self.unexpected()),
        }
    }

    fn attach(&mut self, streams: Streams, on_stall: OnStall) -> Result<()> {
        let (streams, descriptors) = StreamSet::split(streams);
        self.command_with(&Request::Attach { streams, on_stall }, &descriptors)
    }

    fn wait(&mut self, target: &ProcessTarget) -> Result<ExitStatus> {
        self.wait_for_end(target.clone(), true)
    }

    fn wait_ended(&mut self) -> Result<ExitStatus> {
        self.wait_for_end(ProcessTarget::Main, false)
    }

    fn signal(&mut self, target: &ProcessTarget, signal: i32, all: bool) -> Result<()> {
        self.command(&Request::Signal { target: target.clone(), signal, all })
    }

    fn resize(&mut self, target: &ProcessTarget, size: TerminalSize) -> Result<()> {
        self.command(&Request::Resize { target: target.clone(), size })
    }

    fn pause(&mut self) -> Result<()> {
        self.command(&Request::Pause)
    }

    fn resume(&mut self) -> Result<()> {
        self.command(&Request::Resume)
    }

    fn update(&mut self, resources: &LinuxResources) -> Result<()> {
        self.command(&Request::Update { resources: Box::new(resources.clone()) })
    }

    fn stats(&mut self) -> Result<Stats> {
        match self.ask(&Request::Stats, &[])? {
            Reply::Stats(stats) => Ok(*stats),
            _ => Err(self.unexpected()),
        }
    }

    fn status(&mut self) -> Result<ShimStatus> {
        match self.ask(&Request::Status, &[])? {
            Reply::Status(status) => Ok(*status),
            _ => Err(self.unexpected()),
        }
    }

    fn reopen_log(&mut self) -> Result<()> {
        self.command(&Request::ReopenLog)
    }

    fn shut_down(&mut self) -> Result<()> {
        match self.exchange(&Request::ShutDown, &[]) {
            // A shim that is gone has been shut down.
            Ok(Reply::Done) | Err(PacketError::Closed) => Ok(()),
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Ok(_) => Err(self.unexpected()),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn kill(&mut self) -> Result<()> {
        let failure = |errno: Errno| {
            let message = format!("the shim of container `{}` can't be killed", self.id);
            Failure::new(ErrorKind::Internal, message).caused_by(errno)
        };
        // Who listens, as the kernel noted it. A connection from the launch names the launcher instead.
        let pid = rustix::net::sockopt::socket_peercred(&self.socket).map_err(failure)?.pid;
        if pid == rustix::process::getpid() {
            return Err(failure(Errno::NOTCONN));
        }
        let failure_of = |error: std::io::Error| failure(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let Some(shim) = HeldProcess::new(pid).map_err(failure_of)? else { return Ok(()) };
        // The process id is surely the shim's only if the shim still holds its end.
        if wait_for(&self.socket, Duration::ZERO).map_err(failure)? {
            return Ok(());
        }
        shim.signal(KILL).map_err(failure_of)?;
        match shim.ends_within(DEATH).map_err(failure_of)? {
            true => Ok(()),
            false => Err(failure(Errno::TIMEDOUT)),
        }
    }
}
