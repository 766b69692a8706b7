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
        Self { socket, owner: false, waits_for: None, hears_out: true, events, closed: false }
    }

    /// What to poll. One that waits is only watched for its end.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let wanted = if self.waits_for.is_some() { PollFlags::empty() } else { PollFlags::IN };
        PollFd::new(&self.socket, wanted)
    }

    /// Takes the next request, when one has come. Answers nonsense itself, and notes the end.
    pub(super) fn next_request(&mut self) -> Option<(Request, Vec<OwnedFd>)> {
        if self.closed || self.events.is_empty() {
            return None;
        }
        if self.waits_for.is_some() {
            self.closed |= self.events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
            return None;
        }
        match protocol::receive(self.socket.as_fd()) {
            Ok(request) => return Some(request),
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
        None
    }

    /// Sends a reply. A client that does not take it is let go.
    pub(super) fn send(&mut self, reply: &Reply) {
        self.closed |= protocol::send(self.socket.as_fd(), reply, &[]).is_err();
    }
}
