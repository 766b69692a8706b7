//! What the database says of snapshots.

use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use loam_model::{
    ContainerId, DiskLimit, ErrorKind, Failure, LimitScope, QuotaMechanism, Reason, Result, SnapshotRequest,
};
use loam_state::Durability;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::error::failed;
use crate::quota::{self, LimitedSnapshot, project};
use crate::record::{self, Dropped};
use crate::staging::open_directory;
use crate::{LayerStore, catalog};

/// How many project ids that somebody else uses are passed over.
const PROJECT_ATTEMPTS: u32 = 64;
/// The least that is set as a limit, in bytes: directories alone take some blocks. A file system needs more.
const LEAST_LIMIT: u64 = 256 << 10;
const LEAST_DISK_FILE: u64 = 1 << 20;

/// A snapshot in the database.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The directory of the image's topmost layer.
    pub(super) top: Option<String>,
    pub(super) limit: Option<RecordedLimit>,
}

/// Its limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordedLimit {
    pub(crate) bytes: u64,
    pub(crate) mechanism: QuotaMechanism,
    project: Option<u32>,
}

impl RecordedLimit {
    /// The same with other bytes.
    pub(crate) fn with_bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// The snapshot at this path, with the limit.
    pub(crate) fn on(&self, path: &Path) -> LimitedSnapshot {
        LimitedSnapshot { path: path.to_owned(), bytes: self.bytes, project: self.project }
    }
}

/// What a mount needs of a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotLayers {
    pub(super) ephemeral: bool,
    pub(super) limit: Option<RecordedLimit>,
    /// The directories of the layers, the topmost first.
    pub(super) directories: Vec<String>,
}

/// What came of recording a snapshot.
enum Recording {
    /// Recorded, or recorded before; whether just now.
    Done(Recorded, bool),
    NoImage,
    OtherImage(String),
    NoProject,
    /// The layers alone, so many bytes, are more than the limit.
    LayersExceedLimit(u64),
}

impl LayerStore {
    /// Writes a snapshot down, unless it is known already.
    pub(super) fn record_snapshot(&self, request: &SnapshotRequest<'_>) -> Result<Recorded> {
        let mechanism = request.limit.map(|limit| self.mechanism_for(limit)).transpose()?;
        let durability = if request.ephemeral { Durability::Unsynced } else { Durability::Synced };
        let projects = &self.config.projects;
        let recording = self
            .database
            .write(durability, |transaction| insert(transaction, request, mechanism, projects))?;
        match recording {
            Recording::Done(mut recorded, is_new) => {
                if let Some(limit) = recorded.limit.as_mut().filter(|limit| is_new && limit.project.is_some())
                    && let Err(failure) = self.find_unused_project(request.container, limit)
                {
                    // There is nothing on the disk yet.
                    self.forget_snapshot(request.container)?;
                    return Err(failure);
                }
                Ok(recorded)
            }
            Recording::NoProject => Err(no_project()),
            Recording::LayersExceedLimit(bytes) => {
                Err(layers_exceed(bytes, request.limit.map_or(0, |limit| limit.bytes)))
            }
            Recording::NoImage => {
                Err(Failure::new(ErrorKind::NotFound, format!("there is no image `{}`", request.image)))
            }
            Recording::OtherImage(before) => {
                let what =
                    format!("container `{}` has a snapshot of another image, `{before}`", request.container);
                Err(Failure::new(ErrorKind::Conflict, what))
            }
        }
    }

    /// What enforces a limit here. A container that could get around project ids gets a file of its own.
    fn mechanism_for(&self, limit: DiskLimit) -> Result<QuotaMechanism> {
        let root = &self.places.root;
        let directory = open_directory(root)
            .map_err(|error| failed(format!("`{}` can't be opened", root.display()), error))?;
        Ok(match quota::mechanism(directory.as_fd()) {
            QuotaMechanism::Project if limit.can_change_projects => QuotaMechanism::DiskFile,
            mechanism => mechanism,
        })
    }

    /// Goes on to the next project id as long as the file system counts something under the one that was chosen: other
    /// programs, and other stores on the same file system, choose for themselves.
    fn find_unused_project(&self, container: &ContainerId, limit: &mut RecordedLimit) -> Result<()> {
        for _ in 0..PROJECT_ATTEMPTS {
            let Some(project) = limit.project else { return Err(no_project()) };
            if !project::is_in_use(&self.places, project)? {
                return Ok(());
            }
            limit.project = self.database.write(Durability::Unsynced, |transaction| {
                let next = next_project(transaction, &self.config.projects)?;
                transaction
                    .prepare_cached("UPDATE snapshot SET project = ?2 WHERE container = ?1")?
                    .execute(params![container.as_str(), next])?;
                Ok(next)
            })?;
        }
        Err(no_project())
    }

    /// The limit of a snapshot; `None` also when there is no snapshot.
    pub(crate) fn snapshot_limit(&self, container: &ContainerId) -> Result<Option<RecordedLimit>> {
        self.database.read(|connection| {
            let found = connection
                .prepare_cached("SELECT quota, mechanism, project FROM snapshot WHERE container = ?1")?
                .query_row([container.as_str()], |row| limit(row, 0))
                .optional()?;
            Ok(found.flatten())
        })
    }

    /// What a snapshot consists of; `None` when there is none.
    pub(super) fn snapshot_layers(&self, container: &ContainerId) -> Result<Option<SnapshotLayers>> {
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT quota, mechanism, project, ephemeral, directory FROM snapshot
                 LEFT JOIN image_layer ON image_layer.image = snapshot.image
                 LEFT JOIN layer USING (diff_id)
                 WHERE container = ?1 ORDER BY position DESC",
            )?;
            let mut rows = statement.query([container.as_str()])?;
            let mut found: Option<SnapshotLayers> = None;
            while let Some(row) = rows.next()? {
                let directory: Option<String> = row.get(4)?;
                let layers = match &mut found {
                    Some(layers) => layers,
                    None => found.insert(SnapshotLayers {
                        ephemeral: row.get(3)?,
                        limit: limit(row, 0)?,
                        directories: Vec::new(),
                    }),
                };
                layers.directories.extend(directory);
            }
            Ok(found)
        })
    }

    /// Deletes a snapshot's row; gives what goes with it, when its image waited for that.
    pub(super) fn forget_snapshot(&self, container: &ContainerId) -> Result<Option<Dropped>> {
        // A row that a power cut brings back is harmless: the directory is gone, and the next removal takes the row.
        self.database.write(Durability::Unsynced, |transaction| {
            let image: Option<String> = transaction
                .prepare_cached("DELETE FROM snapshot WHERE container = ?1 RETURNING image")?
                .query_row([container.as_str()], |row| row.get(0))
                .optional()?;
            let Some(image) = image else { return Ok(None) };
            record::drop_condemned(transaction, &image)
        })
    }

    pub(crate) fn containers(&self) -> Result<Vec<ContainerId>> {
        self.database.read(|connection| {
            connection
                .prepare_cached("SELECT container FROM snapshot ORDER BY container")?
                .query_map([], |row| catalog::parsed(row, 0))?
                .collect()
        })
    }

    /// Removes the templates of limits that no snapshot has.
    pub(crate) fn sweep_templates(&self) {
        let templates = self.places.templates();
        let Ok(entries) = std::fs::read_dir(&templates) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let bytes: Option<i64> = name.to_str().and_then(|name| name.parse().ok());
            let used = self.database.read(|connection| {
                connection
                    .prepare_cached("SELECT 1 FROM snapshot WHERE quota = ?1 AND mechanism = ?2")?
                    .exists(params![bytes, QuotaMechanism::DiskFile.as_str()])
            });
            if !used.unwrap_or(true)
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                tracing::debug!(path = %entry.path().display(), %error, "a template is left");
            }
        }
    }
}

fn insert(
    transaction: &Transaction<'_>,
    request: &SnapshotRequest<'_>,
    mechanism: Option<QuotaMechanism>,
    projects: &Range<u32>,
) -> rusqlite::Result<Recording> {
    let (container, image) = (request.container.as_str(), request.image.to_string());
    if !transaction.prepare_cached("SELECT 1 FROM image WHERE id = ?1")?.exists([&image])? {
        return Ok(Recording::NoImage);
    }
    let before = transaction
        .prepare_cached("SELECT quota, mechanism, project, image FROM snapshot WHERE container = ?1")?
        .query_row([container], |row| Ok((limit(row, 0)?, row.get::<_, String>(3)?)))
        .optional()?;
    let (limit, is_new) = match before {
        Some((limit, before)) if before == image => (limit, false),
        Some((_, before)) => return Ok(Recording::OtherImage(before)),
        None => {
            let project = match mechanism {
                Some(QuotaMechanism::Project) => match next_project(transaction, projects)? {
                    None => return Ok(Recording::NoProject),
                    found => found,
                },
                _ => None,
            };
            let limit = match request.limit.zip(mechanism) {
                None => None,
                Some((limit, mechanism)) => match enforced(transaction, &image, &limit, mechanism)? {
                    Ok(bytes) => Some(RecordedLimit { bytes, mechanism, project }),
                    Err(layers) => return Ok(Recording::LayersExceedLimit(layers)),
                },
            };
            let bytes = limit.map(|limit| i64::try_from(limit.bytes).unwrap_or(i64::MAX));
            let inclusive = request.limit.as_ref().is_some_and(DiskLimit::is_inclusive);
            let word = mechanism.map(QuotaMechanism::as_str);
            transaction
                .prepare_cached(
                    "INSERT INTO snapshot (container, image, ephemeral, quota, quota_counts_layers, mechanism, project)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![container, image, request.ephemeral, bytes, inclusive, word, project])?;
            record::used(transaction, &image)?;
            (limit, true)
        }
    };
    let top = transaction
        .prepare_cached(
            "SELECT directory FROM image_layer JOIN layer USING (diff_id) WHERE image = ?1
             ORDER BY position DESC LIMIT 1",
        )?
        .query_row([&image], |row| row.get(0))
        .optional()?;
    Ok(Recording::Done(Recorded { top, limit }, is_new))
}

/// The failure when the layers alone are more than an inclusive limit.
pub(crate) fn layers_exceed(bytes: u64, limit: u64) -> Failure {
    let what = format!("the disk limit of {limit} bytes is less than the {bytes} of the image's layers");
    Failure::new(ErrorKind::Exhausted, what).because(Reason::LayersExceedLimit { bytes, limit })
}

/// The bytes that a limit leaves for what is written; `Err` with the bytes of the layers when those are more already.
pub(crate) fn enforced(
    connection: &Connection,
    image: &str,
    limit: &DiskLimit,
    mechanism: QuotaMechanism,
) -> rusqlite::Result<std::result::Result<u64, u64>> {
    let layers = match limit.scope {
        LimitScope::Exclusive => 0,
        LimitScope::Inclusive => catalog::layer_bytes(connection, image)?,
    };
    let least = if mechanism == QuotaMechanism::DiskFile { LEAST_DISK_FILE } else { LEAST_LIMIT };
    Ok(limit.bytes.checked_sub(layers).map(|bytes| bytes.max(least)).ok_or(layers))
}

/// Reads the three columns of a limit. A mechanism that this program does not know is an error.
fn limit(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<RecordedLimit>> {
    let (bytes, word): (Option<i64>, Option<String>) = (row.get(at)?, row.get(at + 1)?);
    let (Some(bytes), Some(word)) = (bytes, word) else { return Ok(None) };
    let mechanism = QuotaMechanism::named(&word).ok_or(rusqlite::Error::InvalidColumnType(
        at + 1,
        word,
        rusqlite::types::Type::Text,
    ))?;
    Ok(Some(RecordedLimit { bytes: bytes.unsigned_abs(), mechanism, project: row.get(at + 2)? }))
}

/// Takes the next project id of the range that no snapshot has. The first one ever is chosen at random: another store may
/// lie on the same file system.
fn next_project(transaction: &Transaction<'_>, projects: &Range<u32>) -> rusqlite::Result<Option<u32>> {
    let cursor: Option<u32> = transaction
        .prepare_cached("SELECT next FROM project_cursor")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let count = projects.end.saturating_sub(projects.start);
    if count == 0 {
        return Ok(None);
    }
    let mut next = match cursor.filter(|cursor| projects.contains(cursor)) {
        Some(cursor) => cursor,
        None => projects.start + getrandom::u32().unwrap_or(0) % count,
    };
    let mut taken = transaction.prepare_cached("SELECT 1 FROM snapshot WHERE project = ?1")?;
    for _ in 0..count {
        let candidate = next;
        next = if next + 1 >= projects.end { projects.start } else { next + 1 };
        if !taken.exists([candidate])? {
            transaction
                .prepare_cached(
                    "INSERT INTO project_cursor (only, next) VALUES (1, ?1)
                     ON CONFLICT (only) DO UPDATE SET next = ?1",
                )?
                .execute([next])?;
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

fn no_project() -> Failure {
    Failure::new(ErrorKind::Exhausted, "no project id is free for a disk limit")
        .hint("remove containers, or give the store another range of project ids")
}

#[cfg(test)]
mod tests {
    use loam_state::Database;

    use super::*;

    #[test]
    fn project_ids_go_round_and_are_never_given_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&directory.path().join("loam.db"), &[crate::SCHEMA]).expect("opens");
        let range = 1000..1003;
        let take = |container: &str| {
            database
                .write(Durability::Unsynced, |transaction| {
                    let project = next_project(transaction, &range)?;
                    transaction.execute(
                        "INSERT INTO snapshot (container, image, ephemeral, project) VALUES (?1, 'i', 1, ?2)",
                        params![container, project],
                    )?;
                    Ok(project)
                })
                .expect("writes")
        };
        database
            .write(Durability::Unsynced, |transaction| {
                transaction.execute(
                    "INSERT INTO image (id, manifest, media_type, platform, config, added)
                     VALUES ('i', 'm', 't', 'p', 'c', 0)",
                    [],
                )
            })
            .expect("an image");
        let first = take("a").expect("free");
        let mut ids = vec![first, take("b").expect("free"), take("c").expect("free")];
        ids.sort_unstable();
        assert_eq!(ids, [1000, 1001, 1002]);
        assert_eq!(take("d"), None);
        database
            .write(Durability::Unsynced, |t| {
                t.execute("DELETE FROM snapshot WHERE container IN ('a', 'd')", [])
            })
            .expect("deletes");
        assert_eq!(take("e"), Some(first));
    }
}
