//! Fetching the layers that the store lacks, several at a time.

mod fetch;
mod settle;
mod turn;
mod workers;

use std::sync::PoisonError;

use loam_model::{Digest, LayerProgress, PullProgress, Result};

use super::early_sync::serve;
use super::held::Held;
use super::shared::Shared;
use crate::base_directory::BaseDirectory;
use crate::document::Descriptor;
use crate::source::Source;
use crate::{LayerStore, catalog, threads};

/// A layer that an image needs.
#[derive(Clone, Debug)]
pub(crate) struct NeededLayer {
    /// What the store knows it by: its diff id, unless it is kept apart.
    pub(crate) diff_id: Digest,
    pub(crate) blob: Descriptor,
    /// What the digest of its contents has to be; `None` when that is not looked at.
    pub(crate) contents: Option<Digest>,
    /// The directory that it is unpacked below, when that is not the root.
    pub(crate) base: Option<BaseDirectory>,
}

impl LayerStore {
    /// Fetches what neither the store nor `held` has.
    pub(super) fn fetch_layers(
        &self,
        place: &dyn Source,
        needed: &[NeededLayer],
        limit: Option<u64>,
        held: &mut Held,
        progress: &dyn PullProgress,
    ) -> Result<()> {
        let mut missing: Vec<&NeededLayer> = Vec::new();
        for layer in needed.iter().filter(|layer| !held.layers.contains_key(&layer.diff_id)) {
            if self.has_layer(&layer.diff_id)? {
                progress.layer(&layer.blob.digest, LayerProgress::Present);
            } else {
                missing.push(layer);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_by(|a, b| a.diff_id.cmp(&b.diff_id));
        let budget = self.budget_within(self.rest_of_limit(needed, held, limit)?)?;
        let shared = Shared::new(place, progress, budget, &missing);
        let wanted = (shared.processors + 1).clamp(2, 4).min(missing.len());
        let asked = shared.early_sync.listen(shared.bytes);
        let disk = &held.disk;
        std::thread::scope(|scope| {
            if let Some(asked) = asked {
                let shared = &shared;
                let sync = move || {
                    serve(&asked, || disk.sync()).unwrap_or_else(|failure| shared.fail(failure));
                };
                // Where no thread can be had the last sync has more to do.
                threads::start(scope, sync).ok();
            }
            self.work_through(missing, wanted, &shared);
            shared.early_sync.end();
        });
        let outcome = shared.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome.failure {
            Some(failure) => Err(failure),
            None => {
                held.layers.extend(outcome.done);
                Ok(())
            }
        }
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> Result<bool> {
        Ok(self.database.read(|connection| catalog::layer(connection, diff_id))?.is_some())
    }
}
