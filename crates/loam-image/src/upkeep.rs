//! Looking after the store: figures, pins, and pruning.

mod check;
mod figures;
mod limit;
mod prune;
mod recount;
mod repair;

use loam_model::{
    CheckedLayer, ContainerId, Digest, ImageUpkeep, LayerDetail, PruneRequest, Pruned, PullProgress,
    RegistryOptions, RepairedLayer, Result, SnapshotUsage, StoreUsage,
};
use loam_state::Durability;
use rusqlite::params;

use crate::LayerStore;
use crate::store::no_image;

impl ImageUpkeep for LayerStore {
    fn layers(&self, image: &Digest) -> Result<Vec<LayerDetail>> {
        let id = image.to_string();
        let layers = self.database.read(|connection| figures::layers(connection, &id))?;
        layers.ok_or_else(|| no_image(image))
    }

    fn usage(&self) -> Result<StoreUsage> {
        self.measure()
    }

    fn recorded_usage(&self) -> Result<StoreUsage> {
        self.database.read(figures::recorded)
    }

    fn snapshot(&self, container: &ContainerId) -> Result<SnapshotUsage> {
        self.measure_snapshot(container)
    }

    fn recount(&self) -> Result<u64> {
        self.recount_layers()
    }

    fn prune(&self, request: &PruneRequest) -> Result<Pruned> {
        self.prune_images(request)
    }

    fn check(&self, heard: &mut dyn FnMut(&CheckedLayer) -> Result<()>) -> Result<()> {
        self.check_layers(heard)
    }

    fn repair(
        &self,
        layers: &[Digest],
        options: &RegistryOptions,
        progress: &dyn PullProgress,
        heard: &mut dyn FnMut(&Digest, Result<RepairedLayer>) -> Result<()>,
    ) -> Result<()> {
        self.repair_layers(layers, options, progress, heard)
    }

    fn pin(&self, image: &Digest, pinned: bool) -> Result<()> {
        let known = self.database.write(Durability::Synced, |transaction| {
            transaction
                .execute("UPDATE image SET pinned = ?2 WHERE id = ?1", params![image.to_string(), pinned])
        })?;
        if known == 0 { Err(no_image(image)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
