//! Looking after an image store: what it holds, and what can go.

use std::time::Duration;

use serde::Serialize;

use crate::{ContainerId, Digest, PullProgress, RegistryOptions, Result};

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDetail {
    /// Its diff id.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub size: u64,
    /// Files, directories and other entries.
    pub entries: u64,
    /// The images in the store that have it, this one included.
    pub images: u64,
}

/// What a store holds, from its records and the file system's counts: nothing is walked but what containers have written that
/// nothing counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreUsage {
    /// Images.
    pub images: u64,
    /// Those that a container stands on.
    pub images_in_use: u64,
    /// Layers, each counted once however many images have it.
    pub layers: u64,
    /// Their bytes.
    pub layer_bytes: u64,
    /// Bytes of the layers that no container stands on and no pinned image has.
    pub reclaimable_bytes: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes that containers have written.
    pub snapshot_bytes: u64,
    /// Snapshots that nothing counts, so that their files had to be walked; a walk is remembered for a while.
    pub walked_snapshots: u64,
    /// The sum of the containers' disk limits.
    pub limit_bytes: u64,
    /// Bytes of the file system that the store is on.
    pub capacity_bytes: u64,
    /// Bytes of it that are free.
    pub available_bytes: u64,
}

impl StoreUsage {
    /// Bytes that the store may come to need with the containers that it has: layers and disk limits (GrootFS's
    /// `committed`).
    pub fn committed_bytes(&self) -> u64 {
        self.layer_bytes.saturating_add(self.limit_bytes)
    }
}

/// What one snapshot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotUsage {
    /// Bytes of the layers below it.
    pub layer_bytes: u64,
    /// The limit that is enforced on what is written to it, in bytes.
    pub limit: Option<u64>,
    /// Bytes that were written to it; absent when only the mount of its disk file tells.
    pub written: Option<u64>,
}

/// A part of what a store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreShare {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the file system that the store is on.
    Percent(u8),
}

impl StoreShare {
    /// In bytes, of a file system of so many.
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                u64::try_from(u128::from(capacity) * u128::from(percent) / 100).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Which images may go. Those that a container stands on, those that are pinned, and those that a process which is still
/// running has pulled, never do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Also those that have a name.
    pub named: bool,
    /// Only those that were neither pulled nor used for a container for so long.
    pub unused_for: Option<Duration>,
    /// Only as long as the layers, together with the containers' disk limits, take more than this; what was used least
    /// recently goes first.
    pub threshold: Option<StoreShare>,
}

/// What a pruning removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Names that no longer point anywhere.
    pub untagged: Vec<String>,
    /// Images.
    pub deleted: Vec<Digest>,
    /// Layers that no image has any more, by diff id.
    pub layers: Vec<Digest>,
    /// The bytes of those layers.
    pub bytes: u64,
}

/// What a check of a layer came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum LayerState {
    /// Its files give the archive with the diff id.
    Whole,
    /// It can't be told: a later entry of its archive replaced an earlier file.
    Unverifiable,
    /// It is not what was pulled.
    Damaged {
        /// What is wrong.
        cause: String,
    },
}

/// A layer that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedLayer {
    /// Its diff id.
    pub diff_id: Digest,
    /// The images that have it.
    pub images: Vec<Digest>,
    /// What the check came to.
    #[serde(flatten)]
    pub state: LayerState,
}

/// A layer that was fetched again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairedLayer {
    /// The repository that it came from.
    pub source: String,
    /// The containers that stand on it. Those that run have the old files until they are started again.
    pub containers: Vec<ContainerId>,
    /// The images that have it and are mounted; they show the old files until they are mounted again.
    pub mounts: Vec<Digest>,
}

/// The part of an image store that people and cleaners look after it with.
///
/// Safe beside everything else that happens to the store: what goes is chosen and forgotten in one transaction, so that a
/// container that is made meanwhile either keeps its image or finds that there is none.
pub trait ImageUpkeep: Send + Sync {
    /// The layers of an image, the lowest first.
    fn layers(&self, image: &Digest) -> Result<Vec<LayerDetail>>;

    /// What the store holds.
    fn usage(&self) -> Result<StoreUsage>;

    /// The same as far as the records tell: nothing is walked, and figures of the file system are 0.
    fn recorded_usage(&self) -> Result<StoreUsage>;

    /// What one snapshot takes.
    fn snapshot(&self, container: &ContainerId) -> Result<SnapshotUsage>;

    /// Counts the bytes of every layer's files anew, and corrects the records. Gives how many were wrong.
    fn recount(&self) -> Result<u64>;

    /// Removes images that nothing needs.
    fn prune(&self, request: &PruneRequest) -> Result<Pruned>;

    /// Reads every layer and holds it against its diff id; `heard` is told each as it is done.
    fn check(&self, heard: &mut dyn FnMut(&CheckedLayer) -> Result<()>) -> Result<()>;

    /// Fetches layers again, from the registries that their images' names speak of, and puts them in the place of those
    /// that are there, whose files stay as long as somebody may have them mounted. `heard` is told of each what came of it.
    fn repair(
        &self,
        layers: &[Digest],
        options: &RegistryOptions,
        progress: &dyn PullProgress,
        heard: &mut dyn FnMut(&Digest, Result<RepairedLayer>) -> Result<()>,
    ) -> Result<()>;

    /// Protects an image from pruning, or does so no longer.
    fn pin(&self, image: &Digest, pinned: bool) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_never_overflows() {
        let usage = StoreUsage { layer_bytes: 5, limit_bytes: u64::MAX, ..StoreUsage::default() };
        assert_eq!(usage.committed_bytes(), u64::MAX);
    }

    #[test]
    fn a_part_of_a_store_is_rounded_down() {
        let part = |percent, capacity| StoreShare::Percent(percent).of(capacity);
        assert_eq!((part(100, u64::MAX), part(50, 9), part(0, 9)), (u64::MAX, 4, 0));
        assert_eq!(StoreShare::Bytes(7).of(3), 7);
    }
}
