//! Removing images that nothing needs.

use loam_model::{Digest, ImageStore as _, PruneRequest, Pruned, Result, StoreShare};
use loam_state::Durability;
use rusqlite::{Transaction, params};

use super::figures;
use crate::record::{self, Dropped};
use crate::{LayerStore, catalog, lease};

impl LayerStore {
    /// Chooses and forgets in one transaction, and then deletes what was forgotten: a crash in between leaves directories
    /// without rows to the next sweep.
    pub(super) fn prune_images(&self, request: &PruneRequest) -> Result<Pruned> {
        self.forget_stale_mounts()?;
        let threshold = match request.threshold {
            None => None,
            Some(share) => Some(share.of(figures::capacity(&self.places.root)?.bytes)),
        };
        let (pruned, dropped) = self.database.write(Durability::Synced, |transaction| {
            lease::expire(transaction, &self.places)?;
            forget(transaction, request, threshold)
        })?;
        self.delete_dropped(&dropped)?;
        self.sweep();
        Ok(pruned)
    }

    /// Prunes after something came in, where that is configured. What can't be pruned stays for the next time.
    pub(crate) fn prune_as_configured(&self) {
        let Some(threshold) = self.config.prune_threshold else { return };
        let request = PruneRequest { named: true, unused_for: None, threshold: Some(threshold) };
        match self.prune_if_due(&request, threshold) {
            Ok(pruned) => {
                for name in &pruned.untagged {
                    tracing::info!(name, "pruned");
                }
            }
            Err(failure) => tracing::warn!(failure = %failure.chain(), "images are not pruned"),
        }
    }

    /// Looks at the records first, without the lock for writing.
    fn prune_if_due(&self, request: &PruneRequest, threshold: StoreShare) -> Result<Pruned> {
        let most = threshold.of(figures::capacity(&self.places.root)?.bytes);
        let held = self.database.read(figures::recorded)?.committed_bytes();
        if held <= most { Ok(Pruned::default()) } else { self.prune_images(request) }
    }
}

/// Forgets the images that may go.
fn forget(
    transaction: &Transaction<'_>,
    request: &PruneRequest,
    threshold: Option<u64>,
) -> rusqlite::Result<(Pruned, Dropped)> {
    let mut held = figures::recorded(transaction)?.committed_bytes();
    let (mut pruned, mut dropped) = (Pruned::default(), Dropped::default());
    for image in candidates(transaction, request)? {
        if threshold.is_some_and(|threshold| held <= threshold) {
            break;
        }
        let names = catalog::names(transaction, &image)?;
        transaction.execute("DELETE FROM image_name WHERE image = ?1", [&image])?;
        let gone = record::drop_image(transaction, &image)?;
        held = held.saturating_sub(gone.bytes);
        pruned.bytes += gone.bytes;
        pruned.untagged.extend(names);
        pruned.deleted.extend(image.parse::<Digest>().ok());
        pruned.layers.extend(gone.layers.iter().map(|(diff_id, _)| diff_id.clone()));
        dropped.layers.extend(gone.layers);
        dropped.blobs.extend(gone.blobs);
    }
    Ok((pruned, dropped))
}

/// The images that may go, those first that were used least recently.
fn candidates(transaction: &Transaction<'_>, request: &PruneRequest) -> rusqlite::Result<Vec<String>> {
    let before = match request.unused_for {
        None => i64::MAX,
        Some(time) => record::now().saturating_sub_unsigned(time.as_secs()),
    };
    let mut statement = transaction.prepare(
        "SELECT id FROM image
         WHERE NOT pinned AND max(added, used) <= ?1
            AND id NOT IN (SELECT image FROM snapshot)
            AND id NOT IN (SELECT image FROM image_lease)
            AND id NOT IN (SELECT image FROM image_mount)
            AND (?2 OR id NOT IN (SELECT image FROM image_name))
         ORDER BY max(added, used), id",
    )?;
    statement.query_map(params![before, request.named], |row| row.get(0))?.collect()
}
