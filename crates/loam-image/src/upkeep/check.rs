//! Holding layers against their diff ids.

use std::io::Read;

use loam_model::{CheckedLayer, Digest, ErrorKind, Failure, LayerState, Result};
use loam_sys::without_error_numbers;
use rusqlite::Connection;

use crate::LayerStore;
use crate::catalog::parsed;
use crate::hashing::Hasher;

/// How much is read at a time.
const PIECE: usize = 256 << 10;

impl LayerStore {
    /// Checks all layers, one after another. One that is removed meanwhile is left out.
    pub(super) fn check_layers(&self, heard: &mut dyn FnMut(&CheckedLayer) -> Result<()>) -> Result<()> {
        for diff_id in self.database.read(layers)? {
            let state = match self.layer_tar(&diff_id) {
                Ok(tar) => compare(tar, &diff_id),
                Err(failure) if failure.kind() == ErrorKind::Unsupported => LayerState::Unverifiable,
                Err(failure) => damaged(&failure),
            };
            let id = diff_id.to_string();
            let images = self.database.read(|connection| images(connection, &id))?;
            if let Some(images) = images {
                heard(&CheckedLayer { diff_id, images, state })?;
            }
        }
        Ok(())
    }
}

/// Reads a tar to its end, and holds its digest against the diff id.
pub(super) fn compare(mut tar: impl Read, diff_id: &Digest) -> LayerState {
    let mut hasher = Hasher::new(diff_id.algorithm());
    let mut piece = vec![0; PIECE];
    loop {
        match tar.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => hasher.update(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return LayerState::Damaged { cause: without_error_numbers(&error.to_string()).into_owned() };
            }
        }
    }
    let found = hasher.finish();
    if found == *diff_id {
        return LayerState::Whole;
    }
    LayerState::Damaged { cause: format!("its files have the digest `{found}`") }
}

fn damaged(failure: &Failure) -> LayerState {
    LayerState::Damaged { cause: failure.chain() }
}

fn layers(connection: &Connection) -> rusqlite::Result<Vec<Digest>> {
    let mut statement = connection.prepare("SELECT diff_id FROM layer ORDER BY added, diff_id")?;
    statement.query_map([], |row| parsed(row, 0))?.collect()
}

/// The images that have a layer; `None` when the layer is gone.
fn images(connection: &Connection, diff_id: &str) -> rusqlite::Result<Option<Vec<Digest>>> {
    if !connection.prepare_cached("SELECT 1 FROM layer WHERE diff_id = ?1")?.exists([diff_id])? {
        return Ok(None);
    }
    let mut statement = connection
        .prepare_cached("SELECT DISTINCT image FROM image_layer WHERE diff_id = ?1 ORDER BY image")?;
    let rows = statement.query_map([diff_id], |row| parsed(row, 0))?;
    rows.collect::<rusqlite::Result<_>>().map(Some)
}
