//! `delete-store`.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::{Outcome, Session};
use crate::error::GrootfsError;

/// How long the directory may be busy after the mount on it is gone.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

impl Session<'_> {
    /// Removes the images and then the whole directory. The backing file stays, as GrootFS leaves it.
    pub(super) fn delete_store(&self) -> Outcome {
        let layout = self.layout();
        if !layout.store.exists() {
            return Ok(String::new());
        }
        self.host.remount_backing(&layout.store)?;
        // Nothing but a store may be deleted whole.
        let listing = |error: &dyn std::fmt::Display| GrootfsError::said(format!("listing images: {error}"));
        let ids = layout.ids().map_err(|error| listing(&error))?;
        if !layout.is_initialized() {
            return Err(listing(&format!("`{}` is no store", layout.store.display())));
        }
        let store = self.open()?;
        for id in ids {
            self.remove(&store, &layout.image(&id)?)?;
        }
        drop(store);
        if self.host.is_mounted(&layout.store) {
            // What is in the file goes first: a store that is made anew in it shall be empty.
            empty(&layout.store)?;
            self.host.unmount(&layout.store)?;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match fs::remove_dir_all(&layout.store) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => {
                    let what = format!("deleting store path `{}`: {error}", layout.store.display());
                    return Err(GrootfsError::said(what));
                }
                Ok(()) => return Ok(String::new()),
            }
        }
    }
}

/// Deletes everything in a directory.
fn empty(directory: &std::path::Path) -> Result<(), GrootfsError> {
    let failed = |error: io::Error| {
        GrootfsError::said(format!("emptying store path `{}`: {error}", directory.display()))
    };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_directory = entry.file_type().map_err(failed)?.is_dir();
        let removed =
            if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        removed.map_err(failed)?;
    }
    Ok(())
}
