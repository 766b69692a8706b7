//! One client's connection, as the shim sees it.

use std::os::fd::{AsFd, OwnedFd};

use loam_model::ProcessTarget;
use rustix::event::{PollFd, PollFlags};

use crate::protocol::{self, PacketError, Reply, Request, WireFailure};

/// A connection and what it waits for.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// Whether its client tidies up when the main process has ended.
    pub(super) owner: bool,
    /// The process whose end it waits for.
    pub(super) waits_for: Option<ProcessTarget>,
    /// The further process that it asked for, until that runs.
    pub(super) begins: Option<u64>,
    /// A request that has come and is to be served.
    pub(super) request: Option<(Request, Vec<OwnedFd>)>,
    /// Whether it waits for that process's output as well.
    pub(super) hears_out: bool,
    /// What was polled last.
    pub(super) events: PollFlags,
    pub(super) closed: bool,
}

impl Connection {
    /// Takes a socket that does not wait.
    pub(super) fn new(socket: OwnedFd) -> Self {
        let events = PollFlags::empty();
        let (waits_for, begins, request) = (None, None, None);
        Self { socket, owner: false, waits_for, begins, request, hears_out: true, events, closed: false }
    }

    /// Whether its client waits for an answer.
    fn is_waiting(&self) -> bool {
        self.waits_for.is_some() || self.begins.is_some() || self.request.is_some()
    }

    /// What to poll. One that waits is only watched for its end.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let wanted = if self.is_waiting() { PollFlags::empty() } else { PollFlags::IN };
        PollFd::new(&self.socket, wanted)
    }

    /// Takes the next request in, when one has come. Answers nonsense itself, and notes the end.
    pub(super) fn hear(&mut self) {
        if self.closed || self.events.is_empty() {
            return;
        }
        if self.is_waiting() {
            self.closed |= self.events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
            return;
        }
        match protocol::receive(self.socket.as_fd()) {
            Ok(request) => self.request = Some(request),
            Err(PacketError::NothingYet) => {}
            Err(error @ (PacketError::Malformed(_) | PacketError::TooLong)) => {
                let failure = loam_model::Failure::new(
                    loam_model::ErrorKind::Invalid,
                    "the shim does not understand the request",
                );
                self.send(&Reply::Failed(WireFailure::new(&failure.caused_by(error))));
            }
            Err(PacketError::Closed | PacketError::Socket(_)) => self.closed = true,
        }
    }

    /// Whether the request to serve is one for a further process.
    pub(super) fn asks_for_exec(&self) -> bool {
        matches!(self.request, Some((Request::Exec { .. }, _)))
    }

    /// Sends a reply. A client that does not take it is let go.
    pub(super) fn send(&mut self, reply: &Reply) {
        self.closed |= protocol::send(self.socket.as_fd(), reply, &[]).is_err();
    }
}
