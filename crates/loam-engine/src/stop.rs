//! Ending, signalling, pausing and resuming containers.

use std::time::Duration;

use loam_model::{ErrorKind, ExitRecord, Failure, ProcessTarget, Result, Shim};
use loam_state::Durability;

use crate::end::EndWatch;
use crate::record::Record;
use crate::signals::{KILL, TERM, signal_number};
use crate::wait::not_running;
use crate::{ContainerState, Engine, store};

/// How long a stop waits before it kills, when neither caller nor spec say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(60);

impl Engine {
    /// Asks a container to end, kills it when it has not after the timeout (the spec's when absent), and waits. One
    /// that has stopped already is success, and so is one that has never run and has no end to tell.
    pub fn stop(&self, name: &str, timeout: Option<Duration>) -> Result<Option<ExitRecord>> {
        let (record, shim) = match self.connect(name)? {
            (record, Some(shim)) => (record, shim),
            (Record { exit: Some(exit), state: ContainerState::Stopped, .. }, None) => {
                return Ok(Some(exit));
            }
            (Record { state: ContainerState::Created, .. }, None) => return Ok(None),
            (record, None) => return Err(not_running(&record)),
        };
        match self.stop_live(&record, shim, timeout) {
            // It has ended by itself, or by another command, and its shim is gone.
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Conflict) => {
                self.exit_after_lost_shim(&record.id, error)
            }
            result => result,
        }
        .map(Some)
    }

    fn stop_live(
        &self,
        record: &Record,
        mut shim: Box<dyn Shim>,
        timeout: Option<Duration>,
    ) -> Result<ExitRecord> {
        let asked = record.spec.stop_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let timeout = timeout.or(asked).unwrap_or(DEFAULT_TIMEOUT);
        let watch = EndWatch::begin(self.shim_of(record)?)?;
        unless_ended(shim.signal(&ProcessTarget::Main, stop_signal(record), false))?;
        if record.state == ContainerState::Paused {
            // Only then does it get the signal.
            unless_ended(shim.resume())?;
        }
        let mut end = watch.end_within(timeout);
        if end.is_none() {
            unless_ended(shim.signal(&ProcessTarget::Main, KILL, true))?;
            end = watch.end_within(KILL_LIMIT);
        }
        drop(shim);
        match end {
            Some(Ok(status)) => {
                watch.hear_out();
                let exit = self.exit_record(&record.id, status);
                Ok(self.settled_exit(&record.id)?.unwrap_or(exit))
            }
            Some(Err(error)) => self.exit_after_lost_shim(&record.id, error),
            None => Err(does_not_end(record)),
        }
    }

    /// Sends a signal to the main process of a running container, or to all its processes.
    pub fn kill(&self, name: &str, signal: i32, all: bool) -> Result<()> {
        let (record, mut shim) = self.connect_live(name)?;
        match shim.signal(&ProcessTarget::Main, signal, all) {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Err(not_running(&record).caused_by(error));
            }
            answer => self.answered(&record, answer)?,
        }
        if signal == KILL && record.state == ContainerState::Paused {
            // A frozen process dies only when it is thawed (cgroup v1, freezer-subsystem.rst).
            unless_ended(shim.resume())?;
        }
        Ok(())
    }

    /// Stops every process of a running container where it stands.
    pub fn pause(&self, name: &str) -> Result<()> {
        let (lock, record) = self.lock_settled(name)?;
        match record.state {
            ContainerState::Running => {}
            ContainerState::Paused => {
                let message = format!("container `{}` is paused already", record.name);
                return Err(Failure::new(ErrorKind::Conflict, message));
            }
            _ => return Err(not_running(&record)),
        }
        let mut shim = self.shim_of(&record)?;
        // The row first: a container that is believed paused can always be resumed.
        self.set_live_state(&record, ContainerState::Paused)?;
        if let Err(error) = shim.pause() {
            self.set_live_state(&record, ContainerState::Running)?;
            drop(lock);
            return self.answered(&record, Err(error));
        }
        Ok(())
    }

    /// Lets a paused container go on.
    pub fn resume(&self, name: &str) -> Result<()> {
        let (lock, record) = self.lock_settled(name)?;
        match record.state {
            ContainerState::Paused => {}
            ContainerState::Running => {
                let message = format!("container `{}` is not paused", record.name);
                return Err(Failure::new(ErrorKind::Conflict, message));
            }
            _ => return Err(not_running(&record)),
        }
        if let Err(error) = self.shim_of(&record)?.resume() {
            drop(lock);
            return self.answered(&record, Err(error));
        }
        self.set_live_state(&record, ContainerState::Running)
    }

    fn shim_of(&self, record: &Record) -> Result<Box<dyn Shim>> {
        let shim = self.core.seams.supervisor.connect(&record.id)?;
        shim.ok_or_else(|| not_running(record))
    }

    fn set_live_state(&self, record: &Record, state: ContainerState) -> Result<()> {
        store::set_state(&self.core.database, Durability::Unsynced, &record.id, state, None)
    }
}

fn stop_signal(record: &Record) -> i32 {
    let asked = record.spec.stop_signal.as_deref().or(record.image_config.stop_signal.as_deref());
    asked.and_then(signal_number).unwrap_or(TERM)
}

/// A conflict here says that the process has ended meanwhile, which is what was wanted.
fn unless_ended(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        result => result,
    }
}

fn does_not_end(record: &Record) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!("container `{}` did not end {} s after it was killed", record.name, KILL_LIMIT.as_secs()),
    )
}
