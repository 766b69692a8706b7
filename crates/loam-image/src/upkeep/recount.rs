//! Counting the bytes of layers anew.

use std::os::fd::AsFd;

use loam_model::Result;
use loam_state::Durability;
use rusqlite::params;

use crate::error::failed;
use crate::staging::open_directory;
use crate::{LayerStore, measure};

impl LayerStore {
    /// Walks every layer, and corrects the rows that are wrong. A layer that is removed meanwhile is left out.
    pub(super) fn recount_layers(&self) -> Result<u64> {
        let rows: Vec<(String, String, i64)> = self.database.read(|connection| {
            let mut statement =
                connection.prepare("SELECT diff_id, directory, size FROM layer ORDER BY diff_id")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })?;
        let mut wrong = 0;
        for (diff_id, directory, recorded) in rows {
            let path = self.places.diff(&directory);
            let Ok(open) = open_directory(&path) else { continue };
            let bytes = measure::file_bytes(open.as_fd()).map_err(|error| {
                failed(format!("the files below `{}` can't be counted", path.display()), error)
            })?;
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            if bytes != recorded {
                wrong += 1;
                self.database.write(Durability::Synced, |transaction| {
                    transaction
                        .execute("UPDATE layer SET size = ?2 WHERE diff_id = ?1", params![diff_id, bytes])
                })?;
            }
        }
        Ok(wrong)
    }
}
