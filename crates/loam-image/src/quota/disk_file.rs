//! A *disk file*, of fixed size: `snapshots/CONTAINER/disk` is an ext4 file system that holds `upper` and `work`. Works
//! on every file system, and can't be got around from inside, whatever rights a container has been given on its own
//! files.
//!
//! The file is sparse: it takes what is in use, and gives back what is deleted. So several of them can promise more
//! than there is. It is mounted by the shim, in its own mount namespace, on a loop device that the kernel lets go with
//! the last mount, however that ends. Here it is mounted for a moment, nowhere, to make the two directories in it. The
//! mount holds a flock(2) on the file: no two mounts of one file at a time.
//!
//! `disk.new` becomes `disk` when it is whole; the journal is kept, because without it ext4 gets slow after many
//! deletions.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::superblock::Superblock;
use super::{DiskQuota, LimitedSnapshot, make_named, template};
use crate::error::failed;
use crate::staging::Places;

/// Limits by the size of a file system.
#[derive(Debug)]
pub(crate) struct DiskFileQuota {
    places: Places,
}

impl DiskFileQuota {
    pub(super) fn new(places: Places) -> Self {
        Self { places }
    }
}

fn unfinished(snapshot: &LimitedSnapshot) -> PathBuf {
    snapshot.path.join("disk.new")
}

fn finished(snapshot: &LimitedSnapshot) -> PathBuf {
    snapshot.path.join("disk")
}

impl DiskQuota for DiskFileQuota {
    fn make(&self, snapshot: &LimitedSnapshot) -> Result<OwnedFd> {
        drop(make_named(&snapshot.path)?);
        let disk = unfinished(snapshot);
        template::copy(&self.places, snapshot.bytes, &disk)?;
        // What a power cut takes here has not been sealed.
        Ok(loam_sys::mount_disk(&disk, false)?)
    }

    fn seal(&self, snapshot: &LimitedSnapshot, sync: bool) -> Result<()> {
        let failure = |error| failed(format!("`{}` can't be made", snapshot.path.display()), error);
        let disk = unfinished(snapshot);
        if sync {
            File::open(&disk).and_then(|file| file.sync_all()).map_err(failure)?;
        }
        fs::rename(&disk, finished(snapshot)).map_err(failure)
    }

    fn change(&self, snapshot: &LimitedSnapshot) -> Result<()> {
        let message = format!("the size of the disk file of `{}` can't be changed", snapshot.path.display());
        Err(Failure::new(ErrorKind::Unsupported, message))
    }

    fn is_whole(&self, snapshot: &LimitedSnapshot) -> bool {
        finished(snapshot).is_file()
    }

    fn disk(&self, snapshot: &LimitedSnapshot) -> Option<PathBuf> {
        Some(finished(snapshot))
    }

    fn used(&self, snapshot: &LimitedSnapshot) -> Result<Option<u64>> {
        let failure =
            |error: io::Error| failed(format!("`{}` can't be counted", snapshot.path.display()), error);
        let file = File::open(finished(snapshot)).map_err(failure)?;
        // While it is mounted, the kernel knows and the file does not.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked.map_err(|error| failure(error.into()))?,
        }
        let superblock = Superblock::read(&file).map_err(failure)?;
        Ok(Some(snapshot.bytes.saturating_sub(superblock.available())))
    }

    fn remove(&self, snapshot: &LimitedSnapshot) -> Result<()> {
        self.places.discard(&snapshot.path)
    }
}
