//! What the rows of snapshots are asked.

use loam_model::{ContainerId, Result};
use rusqlite::{Connection, OptionalExtension};

use super::Counted;
use crate::{LayerStore, catalog};

/// What a mount needs of a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotLayers {
    pub(super) ephemeral: bool,
    pub(super) counted: Option<Counted>,
    /// The directories of the layers, the topmost first.
    pub(super) directories: Vec<String>,
}

impl LayerStore {
    /// What counts a snapshot; `None` also when there is no snapshot.
    pub(crate) fn snapshot_counted(&self, container: &ContainerId) -> Result<Option<Counted>> {
        self.database.read(|connection| {
            let found = connection
                .prepare_cached("SELECT quota, mechanism, project FROM snapshot WHERE container = ?1")?
                .query_row([container.as_str()], |row| Counted::read(row, 0))
                .optional()?;
            Ok(found.flatten())
        })
    }

    /// All snapshots, and what counts each.
    pub(crate) fn counted_snapshots(&self) -> Result<Vec<(ContainerId, Option<Counted>)>> {
        self.database.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT quota, mechanism, project, container FROM snapshot ORDER BY container",
                )?
                .query_map([], |row| Ok((catalog::parsed(row, 3)?, Counted::read(row, 0)?)))?
                .collect()
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
                        counted: Counted::read(row, 0)?,
                        directories: Vec::new(),
                    }),
                };
                layers.directories.extend(directory);
            }
            Ok(found)
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
}

/// The image of a snapshot, and what counts it; `None` when there is no snapshot.
pub(crate) fn counted_image(
    connection: &Connection,
    container: &ContainerId,
) -> rusqlite::Result<Option<(String, Option<Counted>)>> {
    connection
        .prepare_cached("SELECT quota, mechanism, project, image FROM snapshot WHERE container = ?1")?
        .query_row([container.as_str()], |row| Ok((row.get(3)?, Counted::read(row, 0)?)))
        .optional()
}
