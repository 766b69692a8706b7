//! Further processes on their way from their making to the user's program.

use loam_model::{CreatedProcess, ErrorKind, ExitStatus, Failure, Result, StartingProcess, Streams};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Pid;

use super::Container;
use crate::protocol::{Reply, WireFailure};
use crate::serve::process::StreamEnds;

/// A further process that does not run yet, or never will.
pub(super) enum Starting {
    /// It is being made.
    Underway {
        process: Box<dyn StartingProcess>,
        ends: StreamEnds,
        streams: Streams,
        /// How it ended, when that was seen first.
        exit: Option<ExitStatus>,
    },
    /// It could not be made; kept until its client is told.
    Failed(Failure),
}

impl Starting {
    pub(super) fn new(process: Box<dyn StartingProcess>, ends: StreamEnds, streams: Streams) -> Self {
        Self::Underway { process, ends, streams, exit: None }
    }

    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        match self {
            Self::Underway { process, .. } => {
                Some(PollFd::from_borrowed_fd(process.descriptor(), PollFlags::IN))
            }
            Self::Failed(_) => None,
        }
    }

    fn advance(&mut self) -> Result<Option<CreatedProcess>> {
        match self {
            Self::Underway { process, .. } => process.advance(),
            Self::Failed(_) => Ok(None),
        }
    }
}

impl Container {
    pub(in crate::serve) fn is_starting_one(&self) -> bool {
        self.starting.values().any(|starting| starting.interest().is_some())
    }

    /// Lets each go as far as it can.
    pub(super) fn advance_starting(&mut self) {
        let ids: Vec<u64> = self.starting.keys().copied().collect();
        for id in ids {
            let Some(starting) = self.starting.get_mut(&id) else { continue };
            match starting.advance() {
                Ok(None) => {}
                Ok(Some(created)) => {
                    if let Err(failure) = self.started(id, created) {
                        self.starting.insert(id, Starting::Failed(failure));
                    }
                }
                Err(failure) => {
                    let failure = self.explained(failure);
                    self.starting.insert(id, Starting::Failed(failure));
                }
            }
        }
    }

    fn started(&mut self, id: u64, created: CreatedProcess) -> Result<()> {
        let Some(Starting::Underway { ends, streams, exit, .. }) = self.starting.remove(&id) else {
            return Ok(());
        };
        self.runs(id, created, ends, streams)?;
        if let (Some(status), Some(process)) = (exit, self.execs.get_mut(&id)) {
            process.ended(status);
        }
        Ok(())
    }

    /// Whatever went wrong in a container that has ended meanwhile, its end is why.
    fn explained(&self, failure: Failure) -> Failure {
        match self.check_running() {
            Err(not_running) if failure.kind() != ErrorKind::Conflict => not_running.caused_by(failure),
            _ => failure,
        }
    }

    /// The answer to whoever asked for a further process, once there is one.
    pub(in crate::serve) fn begun(&mut self, id: u64) -> Option<Reply> {
        match self.starting.get(&id) {
            None => Some(Reply::Running(id)),
            Some(Starting::Underway { .. }) => None,
            Some(Starting::Failed(failure)) => {
                let reply = Reply::Failed(WireFailure::new(failure));
                self.starting.remove(&id);
                Some(reply)
            }
        }
    }

    /// Ends a further process that nobody asks for any more, if it does not run yet.
    pub(in crate::serve) fn give_up(&mut self, id: u64) {
        self.starting.remove(&id);
    }

    /// Ends all that do not run yet: nobody shall wait for them.
    pub(in crate::serve) fn give_all_up(&mut self) {
        for starting in self.starting.values_mut() {
            let message = "the container is not running";
            *starting = Starting::Failed(Failure::new(ErrorKind::Conflict, message));
        }
    }

    /// Notes the end of one that may run its program already, though it has not said so yet.
    pub(super) fn starting_ended(&mut self, pid: Pid, status: ExitStatus) {
        for starting in self.starting.values_mut() {
            if let Starting::Underway { process, exit: exit @ None, .. } = starting
                && process.pid() == pid.as_raw_nonzero().get()
            {
                *exit = Some(status);
            }
        }
    }
}
