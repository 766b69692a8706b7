//! The lock of a container: `flock` on `ROOT/containers/ID/lock`.
//!
//! It says that a live command is changing the container; it dies with that command. The last holder unlinks it
//! together with the directory, so whoever gets the lock checks that the file is still linked, and then that the row
//! is still there. While files of a stopped container are copied, the lock is the archive process's (see
//! `lock_holder`, which also says what is in the file).
//!
//! Beside it, `flock` on `RUN/containers/ID/owner` says that the command which started the container stays until it
//! ends, and then tidies up. Until then the shim may still be writing output to that command, so commands that only
//! look leave the container to it. Commands that change it need not.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use loam_model::{ContainerId, ErrorKind, Failure, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::directories::{Directories, failure};
use crate::lock_holder;
use crate::record::Record;

/// How long somebody waits for a lock before being told for whom.
const PATIENCE: Duration = Duration::from_secs(2);

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

/// Is told who holds the lock.
type Note<'a> = &'a (dyn Fn(Option<String>) + Sync);

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
            if let Some(Some(lock)) = take(directories, id, Some(&|_| {}))?
                && !is_unlinked(&lock, directories, id)?
            {
                return Ok(lock);
            }
        }
    }

    /// Locks a container, waiting for whoever has it. `None` when it has no row. `note` is called once when that takes
    /// long, with the holder in words if it is known.
    pub(crate) fn wait(
        directories: &Directories,
        id: &ContainerId,
        note: Note<'_>,
        row: impl Fn() -> Result<Option<Record>>,
    ) -> Result<Option<(Self, Record)>> {
        match lock(directories, id, Some(note), row)? {
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
        lock(directories, id, None, row)
    }

    /// The lock, for an archive process that is to hold it alone; it must be told of with [`Self::name_archive`].
    pub(crate) fn hand_over(&self) -> Result<OwnedFd> {
        let copy = self.file.try_clone().map_err(|error| {
            Failure::new(ErrorKind::Exhausted, "the container's lock can't be handed over").caused_by(error)
        })?;
        Ok(copy.into())
    }

    /// Names the process that gets the lock, so that a forced removal can end it.
    pub(crate) fn name_archive(&self, pid: i32) {
        lock_holder::name_archive(&self.file, pid);
    }

    /// Ends the archive process that holds a container's lock, if one does.
    pub(crate) fn end_archive(directories: &Directories, id: &ContainerId) {
        if let Ok(file) = File::open(directories.lock(id)) {
            lock_holder::end_archive(&file);
        }
    }

    /// Removes the lock with the state directory, which must be empty else, and then lets go of it.
    pub(crate) fn remove(self, directories: &Directories, id: &ContainerId) {
        directories.remove_state(id);
    }
}

fn lock(
    directories: &Directories,
    id: &ContainerId,
    note: Option<Note<'_>>,
    row: impl Fn() -> Result<Option<Record>>,
) -> Result<Attempt> {
    loop {
        match take(directories, id, note)? {
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

/// Opens and locks the file. `None` when the directory is not there, `Some(None)` when another holds the lock and the
/// caller, who gave no note, does not wait for it.
fn take(
    directories: &Directories,
    id: &ContainerId,
    note: Option<Note<'_>>,
) -> Result<Option<Option<ContainerLock>>> {
    let path = directories.lock(id);
    let mut options = OpenOptions::new();
    let file = match options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(&path, "can't be opened", error)),
    };
    let bad = |errno: Errno| failure(&path, "can't be locked", errno.into());
    match lock_file(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(Some(Some(ContainerLock { file }))),
        Err(Errno::WOULDBLOCK) => {}
        Err(errno) => return Err(bad(errno)),
    }
    let Some(note) = note else { return Ok(Some(None)) };
    wait_for(&file, note).map_err(bad)?;
    Ok(Some(Some(ContainerLock { file })))
}

fn lock_file(file: &File, operation: FlockOperation) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| flock(file, operation))
}

/// Waits for the lock. A thread of its own sees to the note meanwhile; without one it is not said.
fn wait_for(file: &File, note: Note<'_>) -> rustix::io::Result<()> {
    thread::scope(|scope| {
        let (locked, waits) = mpsc::channel::<()>();
        let teller = thread::Builder::new().name("loam-lock".to_owned()).spawn_scoped(scope, move || {
            if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                note(lock_holder::describe(file));
            }
        });
        if let Err(error) = teller {
            tracing::debug!(%error, "nobody will be told of the wait for a lock");
        }
        let result = lock_file(file, FlockOperation::LockExclusive);
        drop(locked);
        result
    })
}

fn is_unlinked(lock: &ContainerLock, directories: &Directories, id: &ContainerId) -> Result<bool> {
    let metadata = lock.file.metadata();
    Ok(metadata.map_err(|error| failure(&directories.lock(id), "can't be examined", error))?.nlink() == 0)
}
