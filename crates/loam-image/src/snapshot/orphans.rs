//! Snapshots on the disk, and templates of disk files, that no row speaks of.
//!
//! A row comes before its directory and goes after it, but the rows of containers that are thrown away are not synced: a
//! power cut can take one, and whatever was written after it, and leave the directory. What limits the directory is then
//! read from itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loam_model::{ContainerId, QuotaMechanism, Result};
use loam_state::Durability;
use rusqlite::{Connection, params};

use crate::error::failed;
use crate::staging::{entries, make_directory, random_id, report};
use crate::{LayerStore, quota};

impl LayerStore {
    /// Removes snapshots without a row, with everything that counts or limits them. Failures are left for the next time.
    pub(crate) fn sweep_snapshots(&self) {
        for path in entries(&self.places.snapshots()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(container) = name.and_then(|name| name.parse::<ContainerId>().ok()) else { continue };
            match self.bury_orphan(&path, &container) {
                Ok(None) => {}
                Ok(Some(grave)) => report(container.as_str(), quota::remove_buried(&grave, &self.places)),
                Err(failure) => report(container.as_str(), Err(failure)),
            }
        }
    }

    /// Moves a directory that no row speaks of into the trash; gives its place there. It is looked for and moved under the
    /// database's write lock: a row written since would be seen, and whoever writes one later makes a directory of its own.
    fn bury_orphan(&self, path: &Path, container: &ContainerId) -> Result<Option<PathBuf>> {
        let has_row = |connection: &Connection| {
            connection
                .prepare_cached("SELECT 1 FROM snapshot WHERE container = ?1")?
                .exists([container.as_str()])
        };
        if self.database.read(has_row)? {
            return Ok(None);
        }
        make_directory(&self.places.trash())?;
        let grave = self.places.trash().join(random_id());
        let moved = self.database.write(Durability::Unsynced, |transaction| {
            if has_row(transaction)? { Ok(None) } else { Ok(Some(bury(path, &grave))) }
        })?;
        match moved {
            None => Ok(None),
            Some(Ok(())) => Ok(Some(grave)),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Some(Err(error)) => Err(failed(format!("`{}` can't be removed", path.display()), error)),
        }
    }

    /// Removes the templates of limits that no snapshot has.
    pub(crate) fn sweep_templates(&self) {
        let templates = self.places.templates();
        let Ok(entries) = fs::read_dir(&templates) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let bytes: Option<i64> = name.to_str().and_then(|name| name.parse().ok());
            let used = self.database.read(|connection| {
                connection
                    .prepare_cached("SELECT 1 FROM snapshot WHERE quota = ?1 AND mechanism = ?2")?
                    .exists(params![bytes, QuotaMechanism::DiskFile.as_str()])
            });
            if !used.unwrap_or(true)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::debug!(path = %entry.path().display(), %error, "a template is left");
            }
        }
    }
}

/// Moves something to its place in the trash, unless it is there.
fn bury(path: &Path, grave: &Path) -> io::Result<()> {
    match fs::rename(path, grave) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && grave.exists() => Ok(()),
        moved => moved,
    }
}
