//! The disk below the store, and what makes what was written survive a power cut (syncfs(2)).
//!
//! The kernel writes in the background as well, and a failure there is told to a later sync, but only through descriptors
//! that were open at that time. So one descriptor is opened before the first byte is written, and every sync goes through it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use loam_model::Result;

use crate::error::failed;
use crate::staging::open_directory;

/// The file system that the store's root is on.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    opened: OnceLock<OwnedFd>,
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, opened: OnceLock::new() }
    }

    /// From now on failures of writing in the background are heard of.
    pub(crate) fn watch(&self) -> Result<()> {
        self.opened().map(drop)
    }

    /// Makes everything written so far survive a power cut: one call for the whole file system, which costs less than
    /// one for each of thousands of files.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(self.opened()?).map_err(|error| failed(self.unsynced(), error))
    }

    fn opened(&self) -> Result<&OwnedFd> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let root = open_directory(&self.root).map_err(|error| failed(self.unsynced(), error))?;
        Ok(self.opened.get_or_init(|| root))
    }

    fn unsynced(&self) -> String {
        format!("`{}` can't be synced to the disk", self.root.display())
    }
}
