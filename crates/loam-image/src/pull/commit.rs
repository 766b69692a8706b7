//! The end of a pull: everything durable, then visible.

use loam_model::{Digest, Image, Result};
use loam_state::Durability;

use super::{Described, Held};
use crate::record::{self, NewImage};
use crate::{LayerStore, blobs, catalog};

/// What the commit found.
enum Commit {
    /// Done.
    Done {
        /// The manifest that the image had before.
        before: Option<Digest>,
        /// Layers that another pull, which did not wait for this one, has committed meanwhile.
        twins: Vec<Digest>,
    },
    /// Something that the image needs was removed meanwhile.
    Again,
}

/// Documents by their digests.
type Documents<'a> = [(&'a Digest, &'a Vec<u8>); 2];

impl LayerStore {
    /// Makes everything durable, then visible. `None` when a removal came between.
    pub(crate) fn commit(&self, described: &Described, held: &mut Held) -> Result<Option<Image>> {
        held.layers.values().for_each(super::HeldLayer::beat);
        if !self.settle(&described.config.diff_ids, held)? {
            return Ok(None);
        }
        for layer in held.layers.values_mut() {
            layer.publish()?;
        }
        let documents = [
            (&described.manifest.digest, &described.manifest.bytes),
            (&described.id, &described.config_bytes),
        ];
        for (digest, bytes) in documents {
            blobs::write(&self.places, digest, bytes)?;
        }
        held.disk.sync()?;
        let Commit::Done { before, twins } = self.record(described, held, &documents)? else {
            return Ok(None);
        };
        for (diff_id, layer) in std::mem::take(&mut held.layers) {
            // What is not kept is deleted.
            if !twins.contains(&diff_id) {
                layer.keep();
            }
        }
        blobs::collect(&self.places, &self.database, before.as_slice())?;
        let id = described.id.to_string();
        self.database.read(|connection| catalog::image(connection, &id))
    }

    /// Tells the database.
    fn record(&self, described: &Described, held: &Held, documents: &Documents<'_>) -> Result<Commit> {
        let new = NewImage {
            id: &described.id,
            manifest: &described.manifest.digest,
            media_type: &described.manifest.media_type,
            platform: described.config.platform.to_string(),
            created: described.config.created.as_deref(),
            config: &described.config.config,
            layers: described.config.diff_ids.iter().collect(),
            name: described.name.as_deref(),
        };
        let holder = self.holder()?;
        self.database.write(Durability::Synced, |transaction| {
            if !documents.iter().all(|(digest, bytes)| blobs::exists(&self.places, digest, bytes.len())) {
                return Ok(Commit::Again);
            }
            for diff_id in &new.layers {
                if !held.layers.contains_key(diff_id) && catalog::layer(transaction, diff_id)?.is_none() {
                    return Ok(Commit::Again);
                }
            }
            let mut twins = Vec::new();
            for (diff_id, layer) in &held.layers {
                if catalog::layer(transaction, diff_id)?.is_some() {
                    twins.push(diff_id.clone());
                } else {
                    record::layer(transaction, layer.record())?;
                }
            }
            let before = record::image(transaction, &new)?;
            holder.hold(transaction, &described.id, self.config.lease)?;
            Ok(Commit::Done { before, twins })
        })
    }
}
