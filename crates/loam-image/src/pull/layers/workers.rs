//! The threads that fetch layers, and the one that takes the locks for them.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loam_model::LayerProgress;

use super::NeededLayer;
use super::turn::Turn;
use crate::layer_lock::LayerLock;
use crate::pull::queue::Queue;
use crate::pull::shared::Shared;
use crate::{LayerStore, threads};

/// A layer to be fetched, with its lock unless that was waited for in vain.
pub(super) type Job = (NeededLayer, Option<LayerLock>);

impl LayerStore {
    /// Lets so many threads fetch the layers, each as soon as its lock is held.
    pub(super) fn work_through(&self, missing: Vec<&NeededLayer>, wanted: usize, shared: &Shared<'_>) {
        let queue = Queue::<Job>::default();
        std::thread::scope(|scope| {
            for begun in 0..wanted {
                match threads::start(scope, || self.work(shared, &queue)) {
                    Ok(_) => {}
                    Err(failure) if begun == 0 => return shared.fail(failure),
                    Err(_) => break,
                }
            }
            // The locks are taken in one order by all pulls, so that no two wait for each other.
            let mut patience = self.config.lock_patience;
            for layer in missing {
                let lock = match self.lock_layer(layer, patience, (shared, &queue)) {
                    Ok(Turn::Present) => {
                        shared.progress.layer(&layer.blob.digest, LayerProgress::Present);
                        continue;
                    }
                    Ok(Turn::Locked(lock)) => Some(lock),
                    Ok(Turn::Unlocked) => {
                        // Once in vain is enough for all layers.
                        patience = Duration::ZERO;
                        None
                    }
                    Err(failure) => {
                        shared.fail(failure);
                        break;
                    }
                };
                queue.put(layer.blob.size, (layer.clone(), lock));
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            queue.end();
        });
    }

    /// Fetches layers until there are no more.
    fn work(&self, shared: &Shared<'_>, queue: &Queue<Job>) {
        while let Some((layer, lock)) = queue.take() {
            if shared.stop.load(Ordering::Relaxed) {
                continue;
            }
            match self.fetch_layer(&layer, lock, shared) {
                Ok(held) => {
                    let mut outcome = shared.outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    outcome.done.push((layer.diff_id, held));
                }
                Err(failure) => shared.fail(failure),
            }
        }
    }
}
