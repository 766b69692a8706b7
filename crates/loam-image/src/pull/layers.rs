//! Fetching the layers that the store lacks, several at a time.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loam_model::{Digest, ErrorKind, Failure, LayerProgress, PullProgress, Result};
use loam_unpack::{Means, settle};

use super::early_sync::serve;
use super::held::{Held, HeldLayer};
use super::limits;
use super::queue::Queue;
use super::shared::Shared;
use crate::base_directory::BaseDirectory;
use crate::document::Descriptor;
use crate::error::wrap;
use crate::intake::{Blob, Copied, Intake};
use crate::layer_lock::{LayerLock, Waiting};
use crate::record::NewLayer;
use crate::source::Source;
use crate::staging::{StagedLayer, open_directory};
use crate::stream::unpack_stream;
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

/// A layer to be fetched, with its lock unless that was waited for in vain.
type Job = (NeededLayer, Option<LayerLock>);

/// What came of waiting for a layer's lock.
enum Turn {
    /// The layer is there by now.
    Present,
    /// It is this pull's turn.
    Locked(LayerLock),
    /// Another pull has the lock, and does not get on.
    Unlocked,
}

impl LayerStore {
    /// Fetches what neither the store nor `held` has.
    pub(crate) fn fetch_layers(
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

    /// Lets so many threads fetch the layers, each as soon as its lock is held.
    fn work_through(&self, missing: Vec<&NeededLayer>, wanted: usize, shared: &Shared<'_>) {
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

    /// Waits for a layer's lock.
    fn lock_layer(
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

    fn fetch_layer(
        &self,
        layer: &NeededLayer,
        lock: Option<LayerLock>,
        shared: &Shared<'_>,
    ) -> Result<HeldLayer> {
        let digest = &layer.blob.digest;
        let what = format!("layer `{digest}` can't be unpacked");
        shared.progress.layer(digest, LayerProgress::Started { size: layer.blob.size });
        let before = AtomicU64::new(0);
        let heard = |bytes: u64| {
            let more = bytes.saturating_sub(before.swap(bytes, Ordering::Relaxed));
            shared.heartbeat.advance(more);
            shared.early_sync.advance(more);
            shared.progress.layer(digest, LayerProgress::Advanced { bytes });
        };
        let means = Means {
            budget: &shared.budget,
            stop: &shared.stop,
            algorithm: layer.contents.as_ref().unwrap_or(&layer.diff_id).algorithm(),
            own_thread: shared.is_worth_a_thread(&layer.blob),
            unpacker: &self.config.unpacker,
        };
        let unpack = || {
            let (blob, promise) = shared.place.blob(&layer.blob)?;
            let known_blob = promise.digest.clone();
            let staged = StagedLayer::new(&self.places)?;
            // No more than its size comes: see `Intake`.
            let (_charge, blob): (_, Box<dyn Blob>) = match self.config.keep_blobs {
                true => {
                    let charge = shared.budget.take_copy(layer.blob.size);
                    let charge = charge.map_err(|error| error.into_failure(what.clone()))?;
                    (Some(charge), Box::new(Copied { blob, file: staged.blob()? }))
                }
                false => (None, blob),
            };
            let destination = match &layer.base {
                None => staged.destination()?,
                Some(base) => base.destination(&staged)?,
            };
            let intake = Intake::new(blob, promise, &heard);
            let (mut done, blob_size) =
                unpack_stream(intake, destination, means, &what).map_err(limits::explain)?;
            if let Some(contents) = layer.contents.as_ref().filter(|contents| **contents != done.diff_id) {
                let cause =
                    format!("its contents have the digest `{}`, not the diff id `{contents}`", done.diff_id);
                return Err(wrap(Failure::new(ErrorKind::Invalid, cause), &what));
            }
            // What is kept under another name than its diff id can't be held against it later.
            if !done.is_recorded || layer.contents.as_ref() != Some(&layer.diff_id) {
                staged.forget_split()?;
            }
            if let Some(base) = &layer.base {
                base.lift(&mut done.unpacked);
            }
            Ok((staged, done, blob_size, known_blob))
        };
        let unpacked = match unpack() {
            // What an earlier pull has left may be what was wrong.
            Err(failure) if !shared.stop.load(Ordering::Relaxed) && shared.place.spoiled(&layer.blob) => {
                tracing::debug!(%digest, failure = %failure.chain(), "the blob is fetched from its beginning");
                before.store(0, Ordering::Relaxed);
                unpack()
            }
            unpacked => unpacked,
        };
        let (staged, done, blob_size, known_blob) = unpacked?;
        shared.progress.layer(digest, LayerProgress::Done);
        let record = NewLayer {
            diff_id: layer.diff_id.clone(),
            directory: staged.id().to_owned(),
            size: done.unpacked.size,
            entries: done.unpacked.entries,
            blob: known_blob,
            blob_size,
        };
        let mut held = HeldLayer::new(staged, lock, done.unpacked, record);
        held.base.clone_from(&layer.base);
        Ok(held)
    }

    /// Fetches a layer that is there already, without its lock, as nobody else does so.
    pub(crate) fn fetch_again(
        &self,
        place: &dyn Source,
        layer: &NeededLayer,
        progress: &dyn PullProgress,
    ) -> Result<Held> {
        let mut held = Held::none(&self.places)?;
        let shared = Shared::new(place, progress, self.budget()?, &[layer]);
        let fetched = self.fetch_layer(layer, None, &shared)?;
        held.layers.insert(layer.diff_id.clone(), fetched);
        Ok(held)
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> Result<bool> {
        Ok(self.database.read(|connection| catalog::layer(connection, diff_id))?.is_some())
    }

    /// Finishes new layers with what only the layers below them tell, the lowest first. False when one of those has
    /// been removed.
    pub(crate) fn settle(&self, diff_ids: &[Digest], held: &mut Held) -> Result<bool> {
        let budget = self.budget()?;
        let mut below = Vec::new();
        let mut seen = HashSet::new();
        for diff_id in diff_ids.iter().filter(|diff_id| seen.insert(*diff_id)) {
            let directory = match held.layers.get_mut(diff_id) {
                Some(layer) => {
                    let directory = layer.staged.diff()?;
                    if !layer.settled {
                        if let Some(base) = &layer.base {
                            base.check(&below)?;
                        }
                        let what = format!("layer `{diff_id}` can't be finished");
                        settle(&directory, &layer.unpacked, &below, &budget)
                            .map_err(|error| error.into_failure(what))?;
                        layer.settled = true;
                    }
                    directory
                }
                None => {
                    let row = self.database.read(|connection| catalog::layer(connection, diff_id))?;
                    let opened = row.and_then(|row| open_directory(&self.places.diff(&row.directory)).ok());
                    let Some(directory) = opened else { return Ok(false) };
                    directory
                }
            };
            below.insert(0, directory);
        }
        Ok(true)
    }
}
