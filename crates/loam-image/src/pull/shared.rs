//! What the threads of a pull share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use loam_model::{Digest, Failure, PullProgress};
use loam_unpack::{Budget, Means};

use super::early_sync::EarlySync;
use super::held::HeldLayer;
use super::layers::NeededLayer;
use crate::document::Descriptor;
use crate::layer_lock::Heartbeat;
use crate::source::Source;

/// The state that all threads of one pull use.
pub(super) struct Shared<'a> {
    pub(super) place: &'a dyn Source,
    pub(super) progress: &'a dyn PullProgress,
    pub(super) budget: Budget,
    pub(super) stop: AtomicBool,
    pub(super) heartbeat: Heartbeat,
    pub(super) early_sync: EarlySync,
    /// Processors that this process may use.
    pub(super) processors: usize,
    /// How many layers are fetched.
    layers: usize,
    /// Compressed bytes of all their blobs.
    pub(super) bytes: u64,
    pub(super) outcome: Mutex<Outcome>,
}

/// What has come of the layers so far.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) done: Vec<(Digest, HeldLayer)>,
    /// The first failure; those that follow from giving up are not told.
    pub(super) failure: Option<Failure>,
}

impl<'a> Shared<'a> {
    /// For a pull of these layers.
    pub(super) fn new(
        place: &'a dyn Source,
        progress: &'a dyn PullProgress,
        budget: Budget,
        layers: &[&NeededLayer],
    ) -> Self {
        Self {
            place,
            progress,
            budget,
            stop: AtomicBool::new(false),
            heartbeat: Heartbeat::default(),
            early_sync: EarlySync::default(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            layers: layers.len(),
            bytes: layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.blob.size)),
            outcome: Mutex::default(),
        }
    }

    /// Whether a blob is decompressed in a thread of its own.
    pub(super) fn is_worth_a_thread(&self, blob: &Descriptor) -> bool {
        Means::is_worth_a_thread(self.processors, self.layers, blob.size, self.bytes)
    }

    /// Ends the pull with a failure.
    pub(super) fn fail(&self, failure: Failure) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::Relaxed);
        outcome.failure.get_or_insert(failure);
    }
}
