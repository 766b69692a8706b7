//! Snapshots: `snapshots/CONTAINER/{upper,work}`, and a row for each. On the path of every start, so few system calls.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use loam_model::{ContainerId, ErrorKind, Failure, IdMapping, Result, RootfsPlan, SnapshotRequest};
use loam_state::Durability;
use rusqlite::{OptionalExtension, params};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::LayerStore;
use crate::error::failed;
use crate::record::{self, Dropped};
use crate::staging::{make_directory, open_directory};
use crate::unpack::copy_attributes;
use crate::{catalog, delete};

/// What came of recording a snapshot in the database.
enum Recording {
    /// Recorded, or recorded before; with the directory of the image's topmost layer.
    Done(Option<String>),
    NoImage,
    OtherImage(String),
}

/// Directories that overlayfs leaves in its work directory, the deepest first.
const LEFT_BY_OVERLAYFS: [&str; 3] = ["work/work/incompat/volatile", "work/work/incompat", "work/work"];

impl LayerStore {
    fn snapshot_path(&self, container: &ContainerId) -> PathBuf {
        self.places.snapshots().join(container.as_str())
    }

    pub(crate) fn make_snapshot(&self, request: &SnapshotRequest<'_>) -> Result<()> {
        // The row comes first: a directory can then always be found, and removed, by it.
        let durability = if request.ephemeral { Durability::Unsynced } else { Durability::Synced };
        let recording = self.database.write(durability, |transaction| {
            let (container, image) = (request.container.as_str(), request.image.to_string());
            let known = transaction.prepare_cached("SELECT 1 FROM image WHERE id = ?1")?.exists([&image])?;
            if !known {
                return Ok(Recording::NoImage);
            }
            let inserted = transaction
                .prepare_cached(
                    "INSERT INTO snapshot (container, image, ephemeral) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute(params![container, image, request.ephemeral])?;
            if inserted == 0 {
                let before: String = transaction
                    .prepare_cached("SELECT image FROM snapshot WHERE container = ?1")?
                    .query_row([container], |row| row.get(0))?;
                if before != image {
                    return Ok(Recording::OtherImage(before));
                }
            }
            let top = transaction
                .prepare_cached(
                    "SELECT directory FROM image_layer JOIN layer USING (diff_id) WHERE image = ?1
                     ORDER BY position DESC LIMIT 1",
                )?
                .query_row([&image], |row| row.get(0))
                .optional()?;
            Ok(Recording::Done(top))
        })?;
        let top = match recording {
            Recording::Done(top) => top,
            Recording::NoImage => {
                return Err(Failure::new(
                    ErrorKind::NotFound,
                    format!("there is no image `{}`", request.image),
                ));
            }
            Recording::OtherImage(before) => {
                let what =
                    format!("container `{}` has a snapshot of another image, `{before}`", request.container);
                return Err(Failure::new(ErrorKind::Conflict, what));
            }
        };
        let path = self.snapshot_path(request.container);
        self.make_directories(&path, top.as_deref()).inspect_err(|_| {
            // The failure that counts is the one before.
            self.drop_snapshot(request.container).ok();
        })
    }

    /// Makes `upper` and `work`; `upper` appears with the attributes of the image's root, or not at all.
    fn make_directories(&self, path: &Path, top: Option<&str>) -> Result<()> {
        let what = |error: Errno| failed(format!("the snapshot `{}` can't be made", path.display()), error);
        let made = match rustix::fs::mkdir(path, Mode::RWXU) {
            Err(Errno::NOENT) => {
                make_directory(&self.places.snapshots())?;
                rustix::fs::mkdir(path, Mode::RWXU)
            }
            other => other,
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) if path.join("upper").is_dir() => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(what(error)),
        }
        let io = |error: io::Error| failed(format!("the snapshot `{}` can't be made", path.display()), error);
        let directory = open_directory(path).map_err(io)?;
        for name in ["work", "upper.new"] {
            match rustix::fs::mkdirat(&directory, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(what(error)),
            }
        }
        let lower = match top {
            Some(top) => self.places.diff(top),
            None => self.empty_layer()?,
        };
        let lower = open_directory(&lower)
            .map_err(|error| failed(format!("the layer `{}` can't be opened", lower.display()), error))?;
        let upper = open_directory(&path.join("upper.new")).map_err(io)?;
        copy_attributes(lower.as_fd(), upper.as_fd()).map_err(io)?;
        rustix::fs::renameat(&directory, "upper.new", &directory, "upper").map_err(what)
    }

    /// The directory that stands for the layers of an image that has none; overlayfs wants at least one.
    fn empty_layer(&self) -> Result<PathBuf> {
        let empty = self.places.empty();
        make_directory(&empty)?;
        rustix::fs::chmod(&empty, Mode::from_raw_mode(0o755))
            .map_err(|error| failed(format!("`{}` can't be made", empty.display()), error))?;
        Ok(empty)
    }

    pub(crate) fn plan(&self, container: &ContainerId, mapping: Option<&IdMapping>) -> Result<RootfsPlan> {
        let rows: Vec<(bool, Option<String>)> = self.database.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT ephemeral, directory FROM snapshot
                     LEFT JOIN image_layer ON image_layer.image = snapshot.image
                     LEFT JOIN layer USING (diff_id)
                     WHERE container = ?1 ORDER BY position DESC",
                )?
                .query_map([container.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let Some((ephemeral, _)) = rows.first() else { return Err(no_snapshot(container)) };
        let volatile = *ephemeral;
        let mut lower: Vec<PathBuf> = Vec::with_capacity(rows.len());
        for directory in rows.iter().filter_map(|(_, directory)| directory.as_deref()) {
            // An image may have a layer twice, overlayfs may not; the upper one hides all that the lower one has.
            let path = self.places.diff(directory);
            if !lower.contains(&path) {
                lower.push(path);
            }
        }
        if lower.is_empty() {
            lower.push(self.places.empty());
        }
        let path = self.snapshot_path(container);
        Ok(RootfsPlan {
            lower,
            upper: Some(path.join("upper")),
            work: Some(path.join("work")),
            mapping: mapping.cloned(),
            volatile,
        })
    }

    pub(crate) fn usage(&self, container: &ContainerId) -> Result<u64> {
        let upper = self.snapshot_path(container).join("upper");
        let directory = match open_directory(&upper) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_snapshot(container)),
            Err(error) => return Err(failed(format!("`{}` can't be opened", upper.display()), error)),
        };
        delete::usage(directory.as_fd(), 0)
            .map_err(|error| failed(format!("the files below `{}` can't be counted", upper.display()), error))
    }

    pub(crate) fn drop_snapshot(&self, container: &ContainerId) -> Result<()> {
        self.delete_directories(&self.snapshot_path(container))?;
        // A row that a power cut brings back is harmless: the directory is gone, and the next removal takes the row.
        let dropped: Option<Dropped> = self.database.write(Durability::Unsynced, |transaction| {
            let image: Option<String> = transaction
                .prepare_cached("DELETE FROM snapshot WHERE container = ?1 RETURNING image")?
                .query_row([container.as_str()], |row| row.get(0))
                .optional()?;
            let Some(image) = image else { return Ok(None) };
            let condemned: bool = transaction
                .prepare_cached("SELECT condemned FROM image WHERE id = ?1")?
                .query_row([&image], |row| row.get(0))?;
            if !condemned || !catalog::users(transaction, &image)?.is_empty() {
                return Ok(None);
            }
            record::drop_image(transaction, &image).map(Some)
        })?;
        match dropped {
            Some(dropped) => self.delete_dropped(&dropped),
            None => Ok(()),
        }
    }

    fn delete_directories(&self, path: &Path) -> Result<()> {
        let directory = match open_directory(path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(failed(format!("the snapshot `{}` can't be removed", path.display()), error));
            }
        };
        // A container that wrote nothing: five directories, one call each.
        let rmdir = |name: &str| rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR);
        if matches!(rmdir("upper"), Ok(()) | Err(Errno::NOENT)) {
            for name in LEFT_BY_OVERLAYFS {
                rmdir(name).ok();
            }
            rmdir("work").ok();
            if fs::remove_dir(path).is_ok() {
                return Ok(());
            }
        }
        // Renamed first, so that nobody ever sees half of it.
        self.places.discard(path)
    }

    pub(crate) fn containers(&self) -> Result<Vec<ContainerId>> {
        self.database.read(|connection| {
            connection
                .prepare_cached("SELECT container FROM snapshot ORDER BY container")?
                .query_map([], |row| catalog::parsed(row, 0))?
                .collect()
        })
    }
}

fn no_snapshot(container: &ContainerId) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("container `{container}` has no snapshot"))
}
