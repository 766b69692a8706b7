//! The lock of a directory of leases: who has it is the keeper, and holds it as long as it lives.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::step;

/// The lock, held.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Locks a directory; `None` when another keeper has it.
    pub(super) fn take(directory: &Path) -> Result<Option<Self>, String> {
        let path = directory.join("lock");
        loop {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = opened.map_err(|cause| step("opening", &path, cause))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(step("locking", &path, errno)),
            }
            let lock = Self { file, path: path.clone() };
            // It may have been taken away between the two steps, and then locks nobody out.
            if lock.is_in_place() {
                return Ok(Some(lock));
            }
        }
    }

    /// Whether the file still has its name, so that others find it.
    pub(super) fn is_in_place(&self) -> bool {
        let own = self.file.metadata().map(|found| (found.dev(), found.ino()));
        let named = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        matches!((own, named), (Ok(own), Ok(named)) if own == named)
    }
}
