//! A connection to one shim.

use std::os::fd::{AsFd, OwnedFd};

use loam_model::oci_spec::runtime::{LinuxResources, Process};
use loam_model::{
    ContainerId, ErrorKind, ExitStatus, Failure, OnStall, ProcessTarget, Result, Shim, ShimStatus, Stats,
    Streams, TerminalSize,
};

use crate::protocol::{self, MAX_DESCRIPTORS, PacketError, Reply, Request, StreamSet};

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

    fn exchange(
        &self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> std::result::Result<Reply, PacketError> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        protocol::send(self.socket.as_fd(), request, &descriptors)?;
        Ok(protocol::receive(self.socket.as_fd())?.0)
    }

    fn failure(&self, error: PacketError) -> Failure {
        let message = format!("the shim of container `{}` can't be asked", self.id);
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    }

    fn unexpected(&self) -> Failure {
        let message = format!("the shim of container `{}` gave an answer to another question", self.id);
        Failure::new(ErrorKind::Internal, message)
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
        match self.ask(&Request::Wait { target: target.clone() }, &[])? {
            Reply::Ended(status) => Ok(status),
            _ => Err(self.unexpected()),
        }
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
}
