//! The rows of snapshots: written before there is anything of one, deleted when there is nothing any more.

use std::ops::Range;

use loam_model::{ContainerId, DiskLimit, ErrorKind, Failure, QuotaMechanism, Result, SnapshotRequest};
use loam_state::Durability;
use rusqlite::{OptionalExtension, Transaction, params};

use super::counted::{Counted, enforced, layers_exceed};
use super::lookup::counted_image;
use super::projects::{next_project, no_project};
use crate::LayerStore;
use crate::record::{self, Dropped};

/// A snapshot in the database.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The directory of the image's topmost layer.
    pub(super) top: Option<String>,
    pub(super) counted: Option<Counted>,
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
        let mechanism = self.mechanism_for(request)?;
        let durability = if request.ephemeral { Durability::Unsynced } else { Durability::Synced };
        let projects = &self.config.projects;
        let recording = self
            .database
            .write(durability, |transaction| insert(transaction, request, mechanism, projects))?;
        match recording {
            Recording::Done(mut recorded, is_new) => {
                if is_new {
                    self.settle_project(request, &mut recorded)?;
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

    /// Sees to it that a new snapshot's project id is nobody else's. There is nothing on the disk yet.
    fn settle_project(&self, request: &SnapshotRequest<'_>, recorded: &mut Recorded) -> Result<()> {
        let Some(counted) = recorded.counted.as_mut().filter(|counted| counted.project.is_some()) else {
            return Ok(());
        };
        match self.find_unused_project(request.container, counted) {
            Ok(()) => Ok(()),
            // Without a limit nothing was promised.
            Err(failure) if counted.limit.is_none() => {
                tracing::debug!(container = %request.container, error = %failure.chain(), "it is not counted");
                recorded.counted = None;
                self.count_no_more(request.container)
            }
            Err(failure) => {
                self.forget_snapshot(request.container)?;
                Err(failure)
            }
        }
    }

    /// Takes note that nothing counts a snapshot.
    pub(super) fn count_no_more(&self, container: &ContainerId) -> Result<()> {
        self.database.write(Durability::Unsynced, |transaction| {
            transaction
                .prepare_cached("UPDATE snapshot SET mechanism = NULL, project = NULL WHERE container = ?1")?
                .execute([container.as_str()])
                .map(drop)
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
}

fn insert(
    transaction: &Transaction<'_>,
    request: &SnapshotRequest<'_>,
    mechanism: Option<QuotaMechanism>,
    projects: &Range<u32>,
) -> rusqlite::Result<Recording> {
    let image = request.image.to_string();
    if !transaction.prepare_cached("SELECT 1 FROM image WHERE id = ?1")?.exists([&image])? {
        return Ok(Recording::NoImage);
    }
    let (counted, is_new) = match counted_image(transaction, request.container)? {
        Some((before, counted)) if before == image => (counted, false),
        Some((before, _)) => return Ok(Recording::OtherImage(before)),
        None => match insert_new(transaction, request, &image, (mechanism, projects))? {
            Ok(counted) => (counted, true),
            Err(refused) => return Ok(refused),
        },
    };
    let top = transaction
        .prepare_cached(
            "SELECT directory FROM image_layer JOIN layer USING (diff_id) WHERE image = ?1
             ORDER BY position DESC LIMIT 1",
        )?
        .query_row([&image], |row| row.get(0))
        .optional()?;
    Ok(Recording::Done(Recorded { top, counted }, is_new))
}

/// Inserts the row of a snapshot that has none; gives how it is counted, or why it can't be.
fn insert_new(
    transaction: &Transaction<'_>,
    request: &SnapshotRequest<'_>,
    image: &str,
    (mechanism, projects): (Option<QuotaMechanism>, &Range<u32>),
) -> rusqlite::Result<std::result::Result<Option<Counted>, Recording>> {
    let project = match mechanism {
        Some(QuotaMechanism::Project) => next_project(transaction, projects)?,
        _ => None,
    };
    let mechanism = match (mechanism, project, request.limit) {
        (Some(QuotaMechanism::Project), None, Some(_)) => return Ok(Err(Recording::NoProject)),
        // It is only not counted.
        (Some(QuotaMechanism::Project), None, None) => None,
        (mechanism, ..) => mechanism,
    };
    let bytes = match request.limit.zip(mechanism) {
        None => None,
        Some((limit, mechanism)) => match enforced(transaction, image, &limit, mechanism)? {
            Ok(bytes) => Some(bytes),
            Err(layers) => return Ok(Err(Recording::LayersExceedLimit(layers))),
        },
    };
    let quota = bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let inclusive = request.limit.as_ref().is_some_and(DiskLimit::is_inclusive);
    let word = mechanism.map(QuotaMechanism::as_str);
    transaction
        .prepare_cached(
            "INSERT INTO snapshot (container, image, ephemeral, quota, quota_counts_layers, mechanism, project)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            request.container.as_str(),
            image,
            request.ephemeral,
            quota,
            inclusive,
            word,
            project
        ])?;
    record::used(transaction, image)?;
    Ok(Ok(mechanism.map(|mechanism| Counted { limit: bytes, mechanism, project })))
}
