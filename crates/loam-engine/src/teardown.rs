//! Undoing what containers are made of. Every step is success when there is nothing left to undo.

use std::path::PathBuf;
use std::thread;

use loam_model::{DetachRequest, ErrorKind, ExitRecord, Failure, Result, Shim};
use loam_state::Durability;

use crate::create::durability;
use crate::engine::Core;
use crate::lock::ContainerLock;
use crate::record::{NetworkFacts, Record};
use crate::{ContainerState, Engine, store};

/// What a container that is to end still has, as far as the caller knows. What it does not know is looked up.
#[derive(Default)]
pub(crate) struct Leftovers {
    /// A connection to its shim.
    pub(crate) shim: Option<Box<dyn Shim>>,
    /// Its network namespace, when that still exists.
    pub(crate) namespace: Option<PathBuf>,
}

impl Engine {
    /// Removes a container whole, and lets go of its lock. Its row goes last; when something can't be removed it
    /// stays, for another attempt.
    pub(crate) fn remove_all(
        &self,
        lock: ContainerLock,
        record: &Record,
        leftovers: Leftovers,
    ) -> Result<()> {
        let core = &self.core;
        let (ended, detached) = core.release(record, leftovers);
        if ended.is_err() {
            // What may still run must keep what it stands on.
            return join(vec![ended, detached]);
        }
        join(vec![
            detached,
            core.seams.images.remove_snapshot(&record.id),
            core.directories.remove_run(&record.id),
            core.directories.empty_state(&record.id),
        ])?;
        store::delete(&core.database, durability(record), &record.id)?;
        lock.remove(&core.directories, &record.id);
        core.gone_from(&record.network);
        Ok(())
    }

    /// Removes a container that never ran since it was made or ended: no shim, no network.
    pub(crate) fn remove_idle(&self, lock: ContainerLock, record: &Record) -> Result<()> {
        let core = &self.core;
        join(vec![core.seams.images.remove_snapshot(&record.id), core.directories.empty_state(&record.id)])?;
        store::delete(&core.database, Durability::Unsynced, &record.id)?;
        lock.remove(&core.directories, &record.id);
        Ok(())
    }

    /// Undoes a start that failed with `error`: the container is as before, or, when it is one that is thrown away,
    /// gone. What can't be undone now is left, as the row says, to a later command.
    pub(crate) fn undo_start(
        &self,
        lock: ContainerLock,
        record: Record,
        leftovers: Leftovers,
        error: Failure,
    ) -> Failure {
        let undone = match record.spec.auto_remove {
            true => self.remove_all(lock, &record, leftovers),
            false => self.core.put_back(&record, leftovers, &error.chain()),
        };
        if let Err(undo) = undone {
            tracing::warn!(container = %record.id, error = %undo.chain(), "a failed start is not undone yet");
        }
        error
    }

    /// Writes down how a container ended and takes away what ran it; removes it when it asked for that. Gives the
    /// lock back unless the container is gone.
    pub(crate) fn finish(
        &self,
        lock: ContainerLock,
        mut record: Record,
        exit: ExitRecord,
        leftovers: Leftovers,
        failure: Option<String>,
    ) -> Result<Option<(ContainerLock, Record)>> {
        if record.spec.auto_remove {
            self.remove_all(lock, &record, leftovers)?;
            return Ok(None);
        }
        let (ended, detached) = self.core.release(&record, leftovers);
        ended?;
        let mut failure = failure;
        let network = record.network.clone();
        if let Err(error) = detached {
            // The container has ended all the same; its next start, its removal and `settle_all` try again.
            tracing::warn!(container = %record.id, error = %error.chain(), "the network is not detached yet");
            failure = Some(error.chain());
        } else {
            record.network = NetworkFacts::default();
        }
        store::set_stopped(&self.core.database, &record.id, &exit, &record.network, failure.as_deref())?;
        self.core.gone_from(&network);
        self.core.directories.remove_run(&record.id)?;
        record.state = ContainerState::Stopped;
        record.finished = Some(exit.finished_at.clone());
        record.exit = Some(exit);
        record.process = None;
        record.failure = failure;
        Ok(Some((lock, record)))
    }
}

impl Core {
    /// Others forget the name of a container that was on these networks.
    fn gone_from(&self, network: &NetworkFacts) {
        let networks: Vec<_> = network.named_networks().cloned().collect();
        self.names_changed(&networks);
    }

    /// Takes away what a start made, and writes that the container is as before it.
    pub(crate) fn put_back(&self, record: &Record, leftovers: Leftovers, failure: &str) -> Result<()> {
        let (ended, detached) = self.release(record, leftovers);
        join(vec![ended, detached])?;
        self.directories.remove_run(&record.id)?;
        let state = match record.exit {
            Some(_) => ContainerState::Stopped,
            None => ContainerState::Created,
        };
        store::set_state(&self.database, Durability::Unsynced, &record.id, state, Some(failure))
    }

    /// Ends the shim with everything that runs in the container, and detaches its network, meanwhile if it can.
    fn release(&self, record: &Record, leftovers: Leftovers) -> (Result<()>, Result<()>) {
        let Leftovers { shim, namespace } = leftovers;
        if !record.is_attached() {
            return (self.end_shim(record, shim), Ok(()));
        }
        let request = DetachRequest { container: &record.id, namespace };
        if request.namespace.is_some() {
            // The namespace goes with the shim, and plugins may want to look into it.
            let detached = self.seams.network.detach(&request);
            return (self.end_shim(record, shim), detached);
        }
        thread::scope(|scope| {
            let ending = thread::Builder::new().spawn_scoped(scope, || self.end_shim(record, shim));
            let detached = self.seams.network.detach(&request);
            let ended = match ending {
                Ok(ending) => ending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // No thread can be had; what this held of the shim went with it.
                Err(_) => self.end_shim(record, None),
            };
            (ended, detached)
        })
    }

    /// Ends the shim; when none lives that could do it, removes the cgroup with whatever is in it.
    fn end_shim(&self, record: &Record, shim: Option<Box<dyn Shim>>) -> Result<()> {
        let supervisor = &self.seams.supervisor;
        let shim = match shim {
            Some(shim) => Some(shim),
            None => supervisor.connect(&record.id)?,
        };
        if let Some(mut shim) = shim {
            let Err(error) = shim.shut_down() else { return Ok(()) };
            match supervisor.connect(&record.id)? {
                // One that does not answer must not keep its container from ending.
                Some(mut silent) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(container = %record.id, error = %error.chain(), "the shim is killed");
                    silent.kill()?;
                }
                Some(_) => return Err(error),
                // It has ended by itself, or been killed, since.
                None => {
                    tracing::debug!(container = %record.id, error = %error.chain(), "the shim is gone already");
                }
            }
        }
        self.seams.bundler.remove_cgroup(&record.cgroup)
    }
}

/// Joins the failures of independent steps.
pub(crate) fn join(results: Vec<Result<()>>) -> Result<()> {
    let failures = results.into_iter().filter_map(Result::err).collect();
    Failure::join(failures).map_or(Ok(()), Err)
}
