//! Waiting for containers to end, and attaching to those that run.

use std::fmt;

use loam_model::{
    ContainerId, ErrorKind, ExitRecord, ExitStatus, Failure, OnStall, ProcessTarget, Result, Shim, Streams,
};

use crate::create::now;
use crate::end::hear_out;
use crate::lock::OwnerMark;
use crate::record::Record;
use crate::settle::lost;
use crate::start::Started;
use crate::teardown::Leftovers;
use crate::{ContainerState, Engine, store};

/// Streams attached to a running container.
pub struct Attached {
    engine: Engine,
    id: ContainerId,
    shim: Box<dyn Shim>,
}

impl Attached {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Waits until the container has ended and all its output has come.
    pub fn wait(self) -> Result<ExitRecord> {
        let Self { engine, id, mut shim } = self;
        engine.wait_through(&id, shim.as_mut())
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attached").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Started {
    /// Waits until the container has ended and all its output has come. The owner then tidies up: network detached,
    /// shim ended, state written, and the container removed when it asked for that.
    pub fn wait(self) -> Result<ExitRecord> {
        let Self { engine, id, mut shim, owner, .. } = self;
        if owner.is_none() {
            return engine.wait_through(&id, shim.as_mut());
        }
        match shim.wait(&ProcessTarget::Main) {
            Ok(status) => engine.finish_owned(&id, status, shim),
            Err(error) => {
                drop(shim);
                engine.exit_after_lost_shim(&id, error)
            }
        }
    }
}

impl Engine {
    /// Attaches streams to a running container.
    pub fn attach(&self, name: &str, streams: Streams) -> Result<Attached> {
        let (record, mut shim) = self.connect_live(name)?;
        self.answered(&record, shim.attach(streams, OnStall::Drop))?;
        Ok(Attached { engine: self.clone(), id: record.id, shim })
    }

    /// Waits until a container has ended; at once when it has stopped already.
    pub fn wait(&self, name: &str) -> Result<ExitRecord> {
        match self.connect(name)? {
            (record, Some(mut shim)) => {
                let end = shim.wait_ended();
                if end.is_ok() {
                    hear_out(shim)?;
                }
                self.after_end(&record.id, end)
            }
            (Record { exit: Some(exit), state: ContainerState::Stopped, .. }, None) => Ok(exit),
            (record, None) => Err(not_running(&record)),
        }
    }

    /// Waits through this connection for the end and all output.
    fn wait_through(&self, id: &ContainerId, shim: &mut dyn Shim) -> Result<ExitRecord> {
        self.after_end(id, shim.wait(&ProcessTarget::Main))
    }

    /// Makes sure that the row says what a wait told.
    fn after_end(&self, id: &ContainerId, end: Result<ExitStatus>) -> Result<ExitRecord> {
        match end {
            Ok(status) => {
                let exit = self.exit_record(id, status);
                // Whoever stays with it tidies up, and may not have heard of its end yet.
                if OwnerMark::is_there(&self.core.directories, id) {
                    return Ok(exit);
                }
                Ok(or_warn(id, self.settled_exit(id)).flatten().unwrap_or(exit))
            }
            Err(error) => self.exit_after_lost_shim(id, error),
        }
    }

    /// Settles a container that has ended; gives its record unless it is gone.
    pub(crate) fn settled_exit(&self, id: &ContainerId) -> Result<Option<ExitRecord>> {
        self.settle(id)?;
        Ok(store::get(&self.core.database, id)?.and_then(|record| record.exit))
    }

    /// What the shim left behind on its container's end, or what can be said without it.
    pub(crate) fn exit_record(&self, id: &ContainerId, status: ExitStatus) -> ExitRecord {
        match self.core.seams.supervisor.exit_record(id) {
            Ok(Some(exit)) => exit,
            // Another command has tidied up already.
            Ok(None) | Err(_) => ExitRecord { status, out_of_memory: false, finished_at: now() },
        }
    }

    fn finish_owned(&self, id: &ContainerId, status: ExitStatus, shim: Box<dyn Shim>) -> Result<ExitRecord> {
        let exit = self.exit_record(id, status);
        let Some((lock, record)) = self.lock(id)? else { return Ok(exit) };
        if record.state.is_live() {
            let leftovers = Leftovers { shim: Some(shim), namespace: None };
            or_warn(id, self.finish(lock, record, exit.clone(), leftovers, None));
            return Ok(exit);
        }
        Ok(record.exit.unwrap_or(exit))
    }

    /// The connection broke while waiting: the container was removed by another command, or its shim was killed.
    pub(crate) fn exit_after_lost_shim(&self, id: &ContainerId, error: Failure) -> Result<ExitRecord> {
        let exit = self.core.seams.supervisor.exit_record(id).ok().flatten();
        self.settle(id)?;
        match store::get(&self.core.database, id)? {
            None => Ok(exit.unwrap_or_else(lost)),
            Some(Record { state, .. }) if state.is_live() => Err(error),
            Some(record) => Ok(record.exit.or(exit).unwrap_or_else(lost)),
        }
    }

    /// Connects to the shim of a running container; without a shim, the row is up to date and says why.
    pub(crate) fn connect(&self, name: &str) -> Result<(Record, Option<Box<dyn Shim>>)> {
        let record = self.find(name)?;
        let record = match record.state {
            state if state.is_live() => match self.core.seams.supervisor.connect(&record.id)? {
                Some(shim) => return Ok((record, Some(shim))),
                None => self.lock_settled(record.id.as_str())?.1,
            },
            ContainerState::Created | ContainerState::Stopped => record,
            _ => self.lock_settled(record.id.as_str())?.1,
        };
        let shim = match record.state.is_live() {
            true => self.core.seams.supervisor.connect(&record.id)?,
            false => None,
        };
        Ok((record, shim))
    }

    /// What a shim answered; when it did not because its container has ended meanwhile, then that is what is wrong.
    pub(crate) fn answered<T>(&self, record: &Record, answer: Result<T>) -> Result<T> {
        match answer {
            Err(error) if error.kind() == ErrorKind::Unavailable && self.has_ended(&record.id) => {
                Err(not_running(record))
            }
            answer => answer,
        }
    }

    fn has_ended(&self, id: &ContainerId) -> bool {
        let settled = or_warn(id, self.settle(id)).is_some();
        let row = store::get(&self.core.database, id);
        settled && row.is_ok_and(|record| record.is_none_or(|record| !record.state.is_live()))
    }

    /// Connects to the shim of a running or paused container.
    pub(crate) fn connect_live(&self, name: &str) -> Result<(Record, Box<dyn Shim>)> {
        match self.connect(name)? {
            (record, Some(shim)) => Ok((record, shim)),
            (record, None) => Err(not_running(&record)),
        }
    }
}

/// How a container ended is known; that not all of it could be tidied up, which a later command will try again, must
/// not hide it.
fn or_warn<T>(id: &ContainerId, result: Result<T>) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!(container = %id, error = %error.chain(), "not tidied up yet"))
        .ok()
}

/// The failure for what only a running container can do.
pub(crate) fn not_running(record: &Record) -> Failure {
    Failure::new(ErrorKind::Conflict, format!("container `{}` is not running", record.name))
        .hint("start it first")
}
