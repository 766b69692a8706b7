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
use super::{CountedSnapshot, DiskQuota, make_named, template};
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

/// The size of a place: there is no disk file without one.
fn size(place: &CountedSnapshot) -> Result<u64> {
    place
        .limit
        .ok_or_else(|| Failure::new(ErrorKind::Internal, format!("`{}` has no limit", place.path.display())))
}

fn unfinished(place: &CountedSnapshot) -> PathBuf {
    place.path.join("disk.new")
}

fn finished(place: &CountedSnapshot) -> PathBuf {
    place.path.join("disk")
}

impl DiskQuota for DiskFileQuota {
    fn make(&self, place: &CountedSnapshot) -> Result<OwnedFd> {
        drop(make_named(&place.path)?);
        let disk = unfinished(place);
        template::copy(&self.places, size(place)?, &disk)?;
        // What a power cut takes here has not been sealed.
        Ok(loam_sys::mount_disk(&disk, false)?)
    }

    fn seal(&self, place: &CountedSnapshot, sync: bool) -> Result<()> {
        let failure = |error| failed(format!("`{}` can't be made", place.path.display()), error);
        let disk = unfinished(place);
        if sync {
            File::open(&disk).and_then(|file| file.sync_all()).map_err(failure)?;
        }
        fs::rename(&disk, finished(place)).map_err(failure)
    }

    fn change(&self, place: &CountedSnapshot) -> Result<()> {
        let message = format!("`{}` is a disk file, whose size stays as it is", finished(place).display());
        Err(Failure::new(ErrorKind::Unsupported, message))
    }

    fn is_whole(&self, place: &CountedSnapshot) -> bool {
        finished(place).is_file()
    }

    fn disk(&self, place: &CountedSnapshot) -> Option<PathBuf> {
        Some(finished(place))
    }

    fn used(&self, place: &CountedSnapshot) -> Result<Option<u64>> {
        let failure =
            |error: io::Error| failed(format!("`{}` can't be counted", place.path.display()), error);
        let file = File::open(finished(place)).map_err(failure)?;
        // While it is mounted, the kernel knows and the file does not.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked.map_err(|error| failure(error.into()))?,
        }
        let superblock = Superblock::read(&file).map_err(failure)?;
        Ok(Some(size(place)?.saturating_sub(superblock.available())))
    }

    fn remove(&self, place: &CountedSnapshot) -> Result<()> {
        self.places.discard(&place.path)
    }
}
