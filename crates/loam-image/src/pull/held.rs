//! Layers between unpacking and commit.

use std::collections::BTreeMap;

use loam_model::{Digest, Result};
use loam_unpack::Unpacked;

use crate::base_directory::BaseDirectory;
use crate::disk::Disk;
use crate::layer_lock::LayerLock;
use crate::record::NewLayer;
use crate::staging::{Places, StagedLayer};

/// Layers that this pull has unpacked and not yet committed.
pub(crate) struct Held {
    /// By diff id.
    pub(crate) layers: BTreeMap<Digest, HeldLayer>,
    /// Watched since before the first of them was written.
    pub(crate) disk: Disk,
}

impl Held {
    /// None yet.
    pub(crate) fn none(places: &Places) -> Result<Self> {
        Ok(Self { layers: BTreeMap::new(), disk: Disk::watch(places)? })
    }
}

/// An unpacked layer; its lock keeps others from fetching the same, for a while.
pub(crate) struct HeldLayer {
    // Dropped before the lock: whoever waits must find nothing half done.
    pub(super) staged: StagedLayer,
    /// `None` when it was waited for in vain.
    lock: Option<LayerLock>,
    pub(super) unpacked: Unpacked,
    record: NewLayer,
    pub(super) base: Option<BaseDirectory>,
    pub(super) settled: bool,
    published: bool,
}

impl HeldLayer {
    pub(crate) fn new(
        staged: StagedLayer,
        lock: Option<LayerLock>,
        unpacked: Unpacked,
        record: NewLayer,
    ) -> Self {
        Self { staged, lock, unpacked, record, base: None, settled: false, published: false }
    }

    pub(crate) fn record(&self) -> &NewLayer {
        &self.record
    }

    /// Shows those who wait for its lock that the pull gets on.
    pub(crate) fn beat(&self) {
        self.lock.iter().for_each(LayerLock::beat);
    }

    pub(crate) fn publish(&mut self) -> Result<()> {
        if !self.published {
            self.staged.publish()?;
            self.published = true;
        }
        Ok(())
    }

    pub(crate) fn keep(self) {
        self.staged.commit();
    }
}
