//! What one snapshot takes, and another limit for it.

use loam_model::{ContainerId, DiskLimit, ErrorKind, Failure, Result, SnapshotUsage};
use loam_state::Durability;
use rusqlite::{OptionalExtension, params};

use crate::snapshot::{enforced, layers_exceed};
use crate::{LayerStore, catalog};

impl LayerStore {
    /// What a snapshot takes. What a container without a limit has written is walked.
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
        Ok(match self.limited_usage(container)? {
            Some(usage) => SnapshotUsage { layer_bytes, limit: Some(usage.limit), written: usage.used },
            None => SnapshotUsage { layer_bytes, limit: None, written: Some(self.written(container)?) },
        })
    }

    /// Writes the new limit down and sets it, both or neither: the row waits for the file system.
    pub(super) fn limit_anew(&self, container: &ContainerId, limit: &DiskLimit) -> Result<()> {
        let Some(before) = self.snapshot_limit(container)? else {
            let what = format!("the snapshot of container `{container}` has no disk limit to change");
            return Err(Failure::new(ErrorKind::NotFound, what));
        };
        self.database.write(Durability::Synced, |transaction| {
            let image: String = transaction.query_row(
                "SELECT image FROM snapshot WHERE container = ?1",
                [container.as_str()],
                |row| row.get(0),
            )?;
            let bytes = match enforced(transaction, &image, limit, before.mechanism)? {
                Ok(bytes) => bytes,
                Err(layers) => return Ok(Err(layers_exceed(layers, limit.bytes))),
            };
            let snapshot = before.with_bytes(bytes).on(&self.snapshot_path(container));
            if let Err(failure) = crate::quota::quota(before.mechanism, &self.places).change(&snapshot) {
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
