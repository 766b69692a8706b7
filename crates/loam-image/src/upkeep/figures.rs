//! What the store holds: sums over the records.

use std::path::Path;

use loam_model::{ErrorKind, LayerDetail, Result, StoreUsage};
use rusqlite::{Connection, params};

use crate::LayerStore;
use crate::catalog::parsed;
use crate::error::failed;

impl LayerStore {
    /// Sums everything up. What nothing counts is walked.
    pub(super) fn measure(&self) -> Result<StoreUsage> {
        let mut usage = self.database.read(recorded)?;
        for (container, counted) in self.counted_snapshots()? {
            match self.written(&container, counted) {
                Ok(written) => {
                    usage.snapshot_bytes += written.bytes;
                    usage.walked_snapshots += u64::from(written.is_walked);
                }
                // It was removed meanwhile.
                Err(failure) if failure.kind() == ErrorKind::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        let capacity = capacity(&self.places.root)?;
        (usage.capacity_bytes, usage.available_bytes) = (capacity.bytes, capacity.available);
        Ok(usage)
    }
}

/// The size of a file system, in bytes.
pub(super) struct Capacity {
    pub(super) bytes: u64,
    /// What is free.
    available: u64,
}

/// The size of the file system that a directory is on.
pub(super) fn capacity(root: &Path) -> Result<Capacity> {
    let status = rustix::fs::statvfs(root)
        .map_err(|error| failed(format!("the free space of `{}` can't be told", root.display()), error))?;
    let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
    Ok(Capacity { bytes: bytes(status.f_blocks), available: bytes(status.f_bavail) })
}

/// What the records say.
pub(super) fn recorded(connection: &Connection) -> rusqlite::Result<StoreUsage> {
    let number = |query: &str| -> rusqlite::Result<u64> {
        let value: i64 = connection.prepare_cached(query)?.query_row(params![], |row| row.get(0))?;
        Ok(value.unsigned_abs())
    };
    Ok(StoreUsage {
        images: number("SELECT count(*) FROM image")?,
        images_in_use: number(
            "SELECT count(*) FROM (SELECT image FROM snapshot UNION SELECT image FROM image_mount)",
        )?,
        layers: number("SELECT count(*) FROM layer")?,
        layer_bytes: number("SELECT coalesce(sum(size), 0) FROM layer")?,
        reclaimable_bytes: number(
            "SELECT coalesce(sum(size), 0) FROM layer WHERE diff_id NOT IN
                (SELECT diff_id FROM image_layer JOIN image ON image.id = image_layer.image
                 WHERE pinned OR image.id IN (SELECT image FROM snapshot)
                    OR image.id IN (SELECT image FROM image_mount))",
        )?,
        snapshots: number("SELECT count(*) FROM snapshot")?,
        limit_bytes: number("SELECT coalesce(sum(quota), 0) FROM snapshot")?,
        ..StoreUsage::default()
    })
}

/// The layers of an image, the lowest first; `None` when there is no such image.
pub(super) fn layers(connection: &Connection, image: &str) -> rusqlite::Result<Option<Vec<LayerDetail>>> {
    if !connection.prepare_cached("SELECT 1 FROM image WHERE id = ?1")?.exists([image])? {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT layer.diff_id, size, entries,
            (SELECT count(DISTINCT other.image) FROM image_layer AS other WHERE other.diff_id = layer.diff_id)
         FROM image_layer JOIN layer USING (diff_id) WHERE image = ?1 ORDER BY position",
    )?;
    let number = |value: i64| value.unsigned_abs();
    let rows = statement.query_map([image], |row| {
        Ok(LayerDetail {
            diff_id: parsed(row, 0)?,
            size: number(row.get(1)?),
            entries: number(row.get(2)?),
            images: number(row.get(3)?),
        })
    })?;
    rows.collect::<rusqlite::Result<_>>().map(Some)
}
