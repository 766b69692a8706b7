//! `delete`, and what else removes an image.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::{Outcome, Session};
use crate::arguments::Named;
use crate::error::GrootfsError;
use crate::host::OpenStore;
use crate::layout::ImageDirectory;

impl Session<'_> {
    pub(super) fn delete(&self, named: &Named) -> Outcome {
        let word = id_of(named)?;
        let skipped = || {
            let word = loam_model::shown(&word);
            Ok(format!("Image `{word}` not found. Skipping delete."))
        };
        // Garden asks both of its stores about every container.
        let Some(directory) = self.layout().find(&word) else { return skipped() };
        let began = Instant::now();
        self.remove(&self.open()?, &directory)?;
        self.metrics().duration("ImageDeletionTime", began.elapsed());
        Ok(format!("Image {} deleted", directory.id))
    }

    /// Removes an image, whatever there is of it. Nothing is removed as long as something of it is mounted.
    pub(super) fn remove(&self, store: &OpenStore, directory: &ImageDirectory) -> Result<(), GrootfsError> {
        let (rootfs, mounts) = (directory.rootfs(), directory.mounts());
        let points: Vec<_> = self.host.mount_points().iter().map(|name| mounts.join(name)).collect();
        for point in [&rootfs].into_iter().chain(&points) {
            self.host.unmount(point)?;
        }
        store.images.remove_snapshot(&directory.container())?;
        for path in points.iter().chain([&mounts, &rootfs, &directory.path]) {
            remove_directory(path)?;
        }
        Ok(())
    }
}

/// The one word of a command.
pub(super) fn id_of(named: &Named) -> Result<String, GrootfsError> {
    match &named.words[..] {
        [] => Err(GrootfsError::said("id was not specified")),
        [word] => Ok(word.to_string_lossy().into_owned()),
        _ => Err(GrootfsError::said("invalid arguments: one id is wanted")),
    }
}

/// Removes an empty directory. Success when there is none.
fn remove_directory(path: &Path) -> Result<(), GrootfsError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(GrootfsError::said(format!("removing `{}`: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
