//! Waiting for the lock of a layer, as long as another pull that has it gets on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loam_model::Result;

use super::NeededLayer;
use super::workers::Job;
use crate::LayerStore;
use crate::layer_lock::{LayerLock, Waiting};
use crate::pull::queue::Queue;
use crate::pull::shared::Shared;

/// What came of waiting for a layer's lock.
pub(super) enum Turn {
    /// The layer is there by now.
    Present,
    /// It is this pull's turn.
    Locked(LayerLock),
    /// Another pull has the lock, and does not get on.
    Unlocked,
}

impl LayerStore {
    /// Waits for a layer's lock.
    pub(super) fn lock_layer(
        &self,
        layer: &NeededLayer,
        patience: Duration,
        (shared, queue): (&Shared<'_>, &Queue<Job>),
    ) -> Result<Turn> {
        let name = layer.blob.digest.short();
        let wait = Waiting::for_layer(layer.blob.size, patience, &shared.stop);
        let lock = LayerLock::take(&self.places, &layer.diff_id, wait, || {
            queue.open();
            shared.progress.note(&format!("waiting for another pull of layer {name}"));
        })?;
        if self.has_layer(&layer.diff_id)? {
            return Ok(Turn::Present);
        }
        let Some(lock) = lock else {
            if !patience.is_zero() && !shared.stop.load(Ordering::Relaxed) {
                shared
                    .progress
                    .note(&format!("the other pull of layer {name} is too slow, fetching it here too"));
            }
            return Ok(Turn::Unlocked);
        };
        shared.heartbeat.add(&lock);
        Ok(Turn::Locked(lock))
    }
}
