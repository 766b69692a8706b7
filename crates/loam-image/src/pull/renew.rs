//! A pull of an image that the store has already, just as it is and under the name that it shall have.
//!
//! All of it was made durable when it was recorded, and nothing is written that a power cut might not take: so there is
//! nothing to sync, and no layer to open.

use loam_model::{Image, Result};
use loam_state::Durability;
use rusqlite::{Transaction, params};

use super::Described;
use crate::record::now;
use crate::{LayerStore, blobs, catalog};

impl LayerStore {
    /// Takes a lease of the image. `None` when something of it has to be recorded or fetched.
    pub(super) fn renew(&self, described: &Described) -> Result<Option<Image>> {
        let documents = [
            (&described.manifest.digest, described.manifest.bytes.len()),
            (&described.id, described.config_bytes.len()),
        ];
        let are_there = |(digest, length)| blobs::exists(&self.places, digest, length);
        if !self.database.read(|connection| catalog::knows_image(connection, &described.id))?
            || !documents.into_iter().all(are_there)
        {
            return Ok(None);
        }
        let holder = self.holder()?;
        let id = described.id.to_string();
        // A lease ends with its process at the latest.
        self.database.write(Durability::Unsynced, |transaction| {
            if !is_as_recorded(transaction, described, &id)? {
                return Ok(None);
            }
            holder.hold(transaction, &described.id, self.config.lease)?;
            catalog::image(transaction, &id)
        })
    }
}

/// Whether the image is recorded so, which it then is as pulled now.
fn is_as_recorded(transaction: &Transaction<'_>, described: &Described, id: &str) -> rusqlite::Result<bool> {
    if let Some(name) = &described.name
        && catalog::named(transaction, name)?.as_deref() != Some(id)
    {
        return Ok(false);
    }
    let update =
        "UPDATE image SET added = ?4 WHERE id = ?1 AND manifest = ?2 AND media_type = ?3 AND condemned = 0";
    let manifest = &described.manifest;
    let updated = transaction.prepare_cached(update)?.execute(params![
        id,
        manifest.digest.to_string(),
        manifest.media_type,
        now()
    ])?;
    Ok(updated == 1)
}
