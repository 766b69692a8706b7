//! Removing containers.

use loam_model::{ContainerId, ErrorKind, Failure, Result};
use loam_state::Durability;

use crate::lock::ContainerLock;
use crate::settle::surely_lives;
use crate::teardown::Leftovers;
use crate::{ContainerState, Engine, store};

impl Engine {
    /// Removes a container with everything of it. One that runs is a conflict, or killed with `force`, which also
    /// ends a copy of its files. What can't be
    /// removed is tried again by the next command that sees the container.
    pub fn remove(&self, name: &str, force: bool) -> Result<ContainerId> {
        let found = self.find(name)?;
        if force {
            // The other end of a copy may stall for ever.
            ContainerLock::end_archive(&self.core.directories, &found.id);
        }
        // When another command removes it first, that is what was wanted.
        let Some((lock, record)) = self.lock(&found.id)? else { return Ok(found.id) };
        let (lock, record) = match force && record.state.is_live() {
            true => (lock, record),
            false => match self.settle_locked(lock, record)? {
                Some(settled) => settled,
                None => return Ok(found.id),
            },
        };
        if record.state.is_live() && !force {
            let message = format!("container `{}` is {}", record.name, record.state);
            return Err(
                Failure::new(ErrorKind::Conflict, message).hint("stop it first, or force its removal")
            );
        }
        let (database, removing) = (&self.core.database, ContainerState::Removing);
        match store::set_state(database, Durability::Unsynced, &record.id, removing, None) {
            // The removal is what makes space: a container that has filled the disk must not keep it.
            Err(error) if error.kind() == ErrorKind::Exhausted => {}
            written => written?,
        }
        let process = record.process.filter(|process| force && surely_lives(process));
        let namespace = process.map(|process| format!("/proc/{}/ns/net", process.pid).into());
        self.remove_all(lock, &record, Leftovers { shim: None, namespace })?;
        Ok(record.id)
    }
}
