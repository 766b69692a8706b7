//! Recovery: finishing or undoing what dead commands left.
//!
//! | the row says | its lock is free, and | then |
//! |---|---|---|
//! | creating | | undone: everything of it goes |
//! | created, stopped | | it is as it says; a stopped one that is to be removed when it ends goes |
//! | starting | | undone: the shim is ended, the network detached; created or stopped as before |
//! | running, paused | the shim answers | it is as the shim says |
//! | running, paused | the shim left a record | stopped as the record says |
//! | running, paused | no shim, no record | everything in the cgroup is killed; stopped, killed |
//! | removing | | finished |

use std::path::Path;

use loam_model::{
    CgroupPlace, ContainerId, DetachRequest, ErrorKind, ExitRecord, ExitStatus, Result, Shim, ShimStatus,
};
use rustix::process::Pid;

use crate::create::now;
use crate::engine::{Core, not_found};
use crate::lock::{Attempt, ContainerLock, OwnerMark};
use crate::record::{MainProcess, Record};
use crate::signals::KILL;
use crate::teardown::{Leftovers, join};
use crate::{ContainerState, Engine, store};

/// A container whose lock the caller holds.
pub(crate) type Locked = (ContainerLock, Record);

/// What a look at a container gave.
pub(crate) enum Refreshed {
    /// Its row, up to date when this was said.
    Row(Box<Record>),
    /// A live command is changing it, or stays with it until it ends.
    Busy,
    /// It is gone.
    Gone,
}

impl Engine {
    /// Brings one container's state up to date: finishes or undoes what a dead command left, and tidies up when its
    /// main process has ended. Waits for a live command that is changing it. Success when there is no such container.
    pub fn settle(&self, id: &ContainerId) -> Result<()> {
        if let Some((lock, record)) = self.lock(id)? {
            self.settle_locked(lock, record)?;
        }
        Ok(())
    }

    /// Brings every container's state up to date, and removes snapshots, attachments and directories that belong to
    /// none, and what interrupted pulls left. Whatever a live command is changing is left alone.
    pub fn settle_all(&self) -> Result<()> {
        let mut results = Vec::new();
        for record in store::all(&self.core.database)? {
            results.push(self.refresh(&record.id).map(drop));
        }
        results.push(self.remove_orphans());
        results.push(self.core.seams.network.collect(None).map(drop));
        self.core.seams.images.sweep();
        join(results)
    }

    /// Settles a container unless a live command has its lock, or stays with it.
    pub(crate) fn refresh(&self, id: &ContainerId) -> Result<Refreshed> {
        let row = || store::get(&self.core.database, id);
        match ContainerLock::attempt(&self.core.directories, id, row)? {
            Attempt::Held => Ok(Refreshed::Busy),
            Attempt::Gone => Ok(Refreshed::Gone),
            Attempt::Locked(_, record)
                if record.state.is_live() && OwnerMark::is_there(&self.core.directories, id) =>
            {
                Ok(Refreshed::Busy)
            }
            Attempt::Locked(lock, record) => Ok(match self.settle_locked(lock, *record)? {
                Some((_lock, record)) => Refreshed::Row(Box::new(record)),
                None => Refreshed::Gone,
            }),
        }
    }

    /// Locks the container with this name and settles it.
    pub(crate) fn lock_settled(&self, name: &str) -> Result<Locked> {
        let (lock, record) = self.lock(&self.find(name)?.id)?.ok_or_else(|| not_found(name))?;
        self.settle_locked(lock, record)?.ok_or_else(|| not_found(name))
    }

    /// Settles a container whose lock the caller holds; `None` when it is gone then.
    pub(crate) fn settle_locked(&self, lock: ContainerLock, record: Record) -> Result<Option<Locked>> {
        match record.state {
            ContainerState::Created => Ok(Some((lock, record))),
            ContainerState::Stopped if !record.spec.auto_remove => Ok(Some((lock, record))),
            ContainerState::Creating | ContainerState::Stopped | ContainerState::Removing => {
                self.remove_all(lock, &record, Leftovers::default())?;
                Ok(None)
            }
            ContainerState::Starting if record.spec.auto_remove => {
                self.remove_all(lock, &record, Leftovers::default())?;
                Ok(None)
            }
            ContainerState::Starting => {
                self.core.put_back(
                    &record,
                    Leftovers::default(),
                    "the command that started it was killed",
                )?;
                Ok(store::get(&self.core.database, &record.id)?.map(|record| (lock, record)))
            }
            ContainerState::Running | ContainerState::Paused => self.settle_live(lock, record),
        }
    }

    fn settle_live(&self, lock: ContainerLock, mut record: Record) -> Result<Option<Locked>> {
        let supervisor = &self.core.seams.supervisor;
        let Some((shim, status)) = self.status(&record.id)? else {
            let (exit, failure) = match supervisor.exit_record(&record.id)? {
                Some(exit) => (exit, None),
                None => (lost(), Some("its shim died, or the machine was restarted".to_owned())),
            };
            return self.finish(lock, record, exit, Leftovers::default(), failure);
        };
        match status {
            ShimStatus { exit: Some(exit), .. } => {
                let leftovers = Leftovers { shim: Some(shim), namespace: None };
                self.finish(lock, record, exit, leftovers, None)
            }
            ShimStatus { paused, .. } => {
                let state = if paused { ContainerState::Paused } else { ContainerState::Running };
                if state != record.state {
                    let durability = loam_state::Durability::Unsynced;
                    store::set_state(&self.core.database, durability, &record.id, state, None)?;
                    record.state = state;
                }
                Ok(Some((lock, record)))
            }
        }
    }

    /// What a container's shim says; `None` when it is gone, also when it goes while it is asked.
    fn status(&self, id: &ContainerId) -> Result<Option<(Box<dyn Shim>, ShimStatus)>> {
        let supervisor = &self.core.seams.supervisor;
        let Some(mut shim) = supervisor.connect(id)? else { return Ok(None) };
        match shim.status() {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let gone = supervisor.exit_record(id)?.is_some() || supervisor.connect(id)?.is_none();
                if gone { Ok(None) } else { Err(error) }
            }
            status => Ok(Some((shim, status?))),
        }
    }

    /// Removes what belongs to no container. What there is gets listed before the rows: a row is written before
    /// anything of its container is made, so what has no row then is nobody's.
    pub(crate) fn remove_orphans(&self) -> Result<()> {
        let core = &self.core;
        let snapshots = core.seams.images.snapshots()?;
        let attached = core.seams.network.attached()?;
        let (states, runs) = (core.directories.states()?, core.directories.runs()?);
        let rows = store::all(&core.database)?;
        let is_orphan = |id: &&ContainerId| !rows.iter().any(|row| row.id == **id);

        let mut results = Vec::new();
        for id in runs.iter().filter(is_orphan) {
            results.push(core.remove_orphaned_run(id));
        }
        for container in attached.iter().filter(is_orphan) {
            results.push(core.seams.network.detach(&DetachRequest { container, namespace: None }));
        }
        for id in snapshots.iter().filter(is_orphan) {
            results.push(core.seams.images.remove_snapshot(id));
        }
        results.push(self.remove_orphaned_states(&states, &rows));
        for row in rows.iter().filter(|row| attached.contains(&row.id) || runs.contains(&row.id)) {
            results.push(self.tidy_idle(&row.id));
        }
        join(results)
    }

    /// Removes state directories without a row: the command that made one was killed before it wrote the row, or after
    /// it had deleted it. `states` was listed before `rows`.
    pub(crate) fn remove_orphaned_states(&self, states: &[ContainerId], rows: &[Record]) -> Result<()> {
        let orphans = states.iter().filter(|id| !rows.iter().any(|row| row.id == **id));
        // The lock finds no row, and then removes the directory.
        join(orphans.map(|id| self.refresh(id).map(drop)).collect())
    }

    /// Takes away what a stopped container should no longer have.
    fn tidy_idle(&self, id: &ContainerId) -> Result<()> {
        let core = &self.core;
        let row = || store::get(&core.database, id);
        let Attempt::Locked(_lock, record) = ContainerLock::attempt(&core.directories, id, row)? else {
            return Ok(());
        };
        if !matches!(record.state, ContainerState::Created | ContainerState::Stopped) {
            return Ok(());
        }
        let detached = core.seams.network.detach(&DetachRequest { container: id, namespace: None });
        join(vec![detached, core.directories.remove_run(id)])
    }
}

impl Core {
    fn remove_orphaned_run(&self, id: &ContainerId) -> Result<()> {
        // A live shim without a row belongs to another state directory with the same run directory.
        if self.seams.supervisor.connect(id)?.is_some() {
            return Ok(());
        }
        self.seams.bundler.remove_cgroup(&self.orphaned_cgroup(id)?)?;
        self.directories.remove_run(id)
    }

    /// The cgroup of a container without a row: the one in its configuration, which is written before there is a
    /// cgroup.
    fn orphaned_cgroup(&self, id: &ContainerId) -> Result<CgroupPlace> {
        let config = self.running_config(id).ok();
        let written = config.and_then(|config| config.linux().as_ref()?.cgroups_path().clone());
        match written.as_deref().and_then(Path::to_str).and_then(|path| path.parse().ok()) {
            Some(place) => Ok(place),
            None => self.seams.bundler.cgroup(id),
        }
    }
}

/// The record of a container whose end nobody saw.
pub(crate) fn lost() -> ExitRecord {
    ExitRecord { status: ExitStatus::Signaled(KILL), out_of_memory: false, finished_at: now() }
}

/// Names a main process for good.
pub(crate) fn main_process(pid: i32) -> MainProcess {
    let (start_time, parent) = stat(pid).map_or((0, 0), |stat| (stat.start_time, stat.parent));
    MainProcess { pid, start_time, parent }
}

/// Whether a main process and its shim surely live, told by the kernel alone. `false` when they may have ended.
pub(crate) fn surely_lives(process: &MainProcess) -> bool {
    let Some(stat) = stat(process.pid) else { return false };
    // When the shim dies, the process gets another parent.
    stat.start_time == process.start_time && stat.parent == process.parent && !stat.has_ended()
}

fn stat(pid: i32) -> Option<loam_sys::Stat> {
    loam_sys::process_stat(Pid::from_raw(pid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_its_parent() {
        let pid = i32::try_from(std::process::id()).expect("fits");
        let process = main_process(pid);
        assert!(process.start_time > 0 && process.parent > 0);
        assert!(surely_lives(&process));
        assert!(!surely_lives(&MainProcess { start_time: process.start_time + 1, ..process }));
        assert!(!surely_lives(&MainProcess { parent: 1, ..process }));
        assert!(!surely_lives(&MainProcess { pid: i32::MAX, ..process }));
    }
}
