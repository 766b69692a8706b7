//! What one snapshot takes, and another limit for it.

use loam_model::{ContainerId, DiskLimit, ErrorKind, Failure, QuotaMechanism, Result, SnapshotUsage};
use loam_state::Durability;
use rusqlite::{OptionalExtension, params};

use crate::snapshot::{self, enforced, layers_exceed};
use crate::{LayerStore, catalog, quota};

impl LayerStore {
    /// What a snapshot takes. What nothing counts is walked.
    pub(super) fn measure_snapshot(&self, container: &ContainerId) -> Result<SnapshotUsage> {
        let layer_bytes = self.database.read(|connection| {
            let image: Option<String> = connection
                .prepare_cached("SELECT image FROM snapshot WHERE container = ?1")?
                .query_row([container.as_str()], |row| row.get(0))
                .optional()?;
            image.map(|image| catalog::layer_bytes(connection, &image)).transpose()
        })?;
        let Some(layer_bytes) = layer_bytes else {
            let what = format!("container `{container}` has no snapshot");
            return Err(Failure::new(ErrorKind::NotFound, what));
        };
        Ok(match self.counted_usage(container)? {
            Some(usage) => SnapshotUsage { layer_bytes, limit: usage.limit, written: usage.used },
            None => {
                let written = self.written(container, None)?.bytes;
                SnapshotUsage { layer_bytes, limit: None, written: Some(written) }
            }
        })
    }

    /// Writes the new limit down and sets it, both or neither: the row waits for the file system.
    pub(crate) fn limit_anew(&self, container: &ContainerId, limit: &DiskLimit) -> Result<()> {
        let path = self.snapshot_path(container);
        self.database.write(Durability::Synced, |transaction| {
            let found = snapshot::counted_image(transaction, container)?;
            let Some((image, counted)) = found else {
                let what = format!("container `{container}` has no snapshot");
                return Ok(Err(Failure::new(ErrorKind::NotFound, what)));
            };
            let Some(counted) = counted else { return Ok(Err(not_counted(container))) };
            if counted.mechanism == QuotaMechanism::Project && limit.can_change_projects {
                return Ok(Err(not_held(container)));
            }
            let bytes = match enforced(transaction, &image, limit, counted.mechanism)? {
                Ok(bytes) => bytes,
                Err(layers) => return Ok(Err(layers_exceed(layers, limit.bytes))),
            };
            let place = counted.with_limit(bytes).place(&path);
            if let Err(failure) = quota::quota(counted.mechanism, &self.places).change(&place) {
                return Ok(Err(failure));
            }
            let (bytes, inclusive) = (i64::try_from(bytes).unwrap_or(i64::MAX), limit.is_inclusive());
            transaction.execute(
                "UPDATE snapshot SET quota = ?2, quota_counts_layers = ?3 WHERE container = ?1",
                params![container.as_str(), bytes, inclusive],
            )?;
            Ok(Ok(()))
        })?
    }
}

fn not_counted(container: &ContainerId) -> Failure {
    let what =
        format!("the snapshot of container `{container}` can't be given a disk limit: nothing counts it");
    Failure::new(ErrorKind::Unsupported, what)
        .hint("make a container with a limit, or keep the state directory on a file system with quotas")
}

fn not_held(container: &ContainerId) -> Failure {
    let what = format!("a disk limit would not hold container `{container}`, which can change project ids");
    Failure::new(ErrorKind::Unsupported, what).hint("make a container with a limit: it gets a disk file")
}
