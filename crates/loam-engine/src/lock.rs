//! The lock of a container: `flock` on `ROOT/containers/ID/lock`.
//!
//! It says that a live command is changing the container; it dies with that command. The last holder unlinks it
//! together with the directory, so whoever gets the lock checks that the file is still linked, and then that the row
//! is still there.
//!
//! Beside it, `flock` on `RUN/containers/ID/owner` says that the command which started the container stays until it
//! ends, and then tidies up. Until then the shim may still be writing output to that command, so commands that only
//! look leave the container to it. Commands that change it need not.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use loam_model::{ContainerId, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::directories::{Directories, failure};
use crate::record::Record;

/// The right to change a container, held until dropped.
#[derive(Debug)]
pub(crate) struct ContainerLock {
    file: File,
}

/// The mark of a command that stays with the container it started, there until dropped.
#[derive(Debug)]
pub(crate) struct OwnerMark {
    _file: File,
}

impl OwnerMark {
    /// Marks the container, whose run directory was made just now, as owned.
    pub(crate) fn make(directories: &Directories, id: &ContainerId) -> Result<Self> {
        let path = directories.owner(id);
        let make = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(Self { _file: file })
        };
        make().map_err(|error: io::Error| failure(&path, "can't be locked", error))
    }

    /// Whether a live command has marked the container.
    pub(crate) fn is_there(directories: &Directories, id: &ContainerId) -> bool {
        let file = File::open(directories.owner(id));
        file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
    }
}

/// What an attempt to lock without waiting gave.
pub(crate) enum Attempt {
    /// The lock and the row, which now stays as it is for others.
    Locked(ContainerLock, Box<Record>),
    /// A live command has it.
    Held,
    /// There is no such container.
    Gone,
}

impl ContainerLock {
    /// Makes and locks the state directory of a container that has no row yet.
    pub(crate) fn make(directories: &Directories, id: &ContainerId) -> Result<Self> {
        loop {
            directories.make_state(id)?;
            // Recovery may take the directory for an orphan's and remove it under our hands.
            if let Some(Some(lock)) = take(directories, id, FlockOperation::LockExclusive)?
                && !is_unlinked(&lock, directories, id)?
            {
                return Ok(lock);
            }
        }
    }

    /// Locks a container, waiting for whoever has it. `None` when it has no row.
    pub(crate) fn wait(
        directories: &Directories,
        id: &ContainerId,
        row: impl Fn() -> Result<Option<Record>>,
    ) -> Result<Option<(Self, Record)>> {
        match lock(directories, id, FlockOperation::LockExclusive, row)? {
            Attempt::Locked(lock, record) => Ok(Some((lock, *record))),
            Attempt::Held | Attempt::Gone => Ok(None),
        }
    }

    /// Locks a container unless a live command has it.
    pub(crate) fn attempt(
        directories: &Directories,
        id: &ContainerId,
        row: impl Fn() -> Result<Option<Record>>,
    ) -> Result<Attempt> {
        lock(directories, id, FlockOperation::NonBlockingLockExclusive, row)
    }

    /// Removes the lock with the state directory, which must be empty else, and then lets go of it.
    pub(crate) fn remove(self, directories: &Directories, id: &ContainerId) {
        directories.remove_state(id);
    }
}

fn lock(
    directories: &Directories,
    id: &ContainerId,
    operation: FlockOperation,
    row: impl Fn() -> Result<Option<Record>>,
) -> Result<Attempt> {
    loop {
        match take(directories, id, operation)? {
            None if row()?.is_none() => return Ok(Attempt::Gone),
            None => directories.make_state(id)?,
            Some(None) => return Ok(Attempt::Held),
            Some(Some(lock)) if is_unlinked(&lock, directories, id)? => {}
            Some(Some(lock)) => match row()? {
                Some(record) => return Ok(Attempt::Locked(lock, Box::new(record))),
                None => {
                    directories.empty_state(id)?;
                    lock.remove(directories, id);
                    return Ok(Attempt::Gone);
                }
            },
        }
    }
}

/// Opens and locks the file. `None` when the directory is not there, `Some(None)` when another holds the lock.
fn take(
    directories: &Directories,
    id: &ContainerId,
    operation: FlockOperation,
) -> Result<Option<Option<ContainerLock>>> {
    let path = directories.lock(id);
    let file = match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(&path, "can't be opened", error)),
    };
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Some(Some(ContainerLock { file }))),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Some(None)),
            Err(errno) => return Err(failure(&path, "can't be locked", errno.into())),
        }
    }
}

fn is_unlinked(lock: &ContainerLock, directories: &Directories, id: &ContainerId) -> Result<bool> {
    let metadata = lock.file.metadata();
    Ok(metadata.map_err(|error| failure(&directories.lock(id), "can't be examined", error))?.nlink() == 0)
}
