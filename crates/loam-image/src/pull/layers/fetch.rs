//! Fetching one layer: from its blob to a staged layer that is all that was promised.

use std::sync::atomic::{AtomicU64, Ordering};

use loam_model::{Digest, ErrorKind, Failure, LayerProgress, PullProgress, Result};
use loam_unpack::{Means, Unpacked};

use super::NeededLayer;
use crate::LayerStore;
use crate::error::wrap;
use crate::intake::{Blob, Copied, Intake};
use crate::layer_lock::LayerLock;
use crate::pull::shared::Shared;
use crate::pull::{Held, HeldLayer, limits};
use crate::record::NewLayer;
use crate::source::Source;
use crate::staging::StagedLayer;
use crate::stream::unpack_stream;

/// What came of a blob.
struct UnpackedBlob {
    staged: StagedLayer,
    unpacked: Unpacked,
    /// The blob's digest, when the source promised one.
    digest: Option<Digest>,
    /// Bytes of the blob.
    size: u64,
}

impl LayerStore {
    /// Fetches a layer, once more from its beginning when what was wrong may be what an earlier pull has left.
    pub(super) fn fetch_layer(
        &self,
        layer: &NeededLayer,
        lock: Option<LayerLock>,
        shared: &Shared<'_>,
    ) -> Result<HeldLayer> {
        let digest = &layer.blob.digest;
        shared.progress.layer(digest, LayerProgress::Started { size: layer.blob.size });
        let before = AtomicU64::new(0);
        let heard = |bytes: u64| {
            let more = bytes.saturating_sub(before.swap(bytes, Ordering::Relaxed));
            shared.heartbeat.advance(more);
            shared.early_sync.advance(more);
            shared.progress.layer(digest, LayerProgress::Advanced { bytes });
        };
        let blob = match self.unpack_blob(layer, shared, &heard) {
            // What an earlier pull has left may be what was wrong.
            Err(failure) if !shared.stop.load(Ordering::Relaxed) && shared.place.spoiled(&layer.blob) => {
                tracing::debug!(%digest, failure = %failure.chain(), "the blob is fetched from its beginning");
                before.store(0, Ordering::Relaxed);
                self.unpack_blob(layer, shared, &heard)
            }
            blob => blob,
        }?;
        shared.progress.layer(digest, LayerProgress::Done);
        let record = NewLayer {
            diff_id: layer.diff_id.clone(),
            directory: blob.staged.id().to_owned(),
            size: blob.unpacked.size,
            entries: blob.unpacked.entries,
            blob: blob.digest,
            blob_size: blob.size,
        };
        let mut held = HeldLayer::new(blob.staged, lock, blob.unpacked, record);
        held.base.clone_from(&layer.base);
        Ok(held)
    }

    /// Unpacks a layer's blob into a staged layer, and holds it against what is known of both. `heard` is told the bytes of
    /// the blob so far.
    fn unpack_blob(
        &self,
        layer: &NeededLayer,
        shared: &Shared<'_>,
        heard: &(dyn Fn(u64) + Sync),
    ) -> Result<UnpackedBlob> {
        let what = format!("layer `{}` can't be unpacked", layer.blob.digest);
        let means = Means {
            budget: &shared.budget,
            stop: &shared.stop,
            algorithm: layer.contents.as_ref().unwrap_or(&layer.diff_id).algorithm(),
            own_thread: shared.is_worth_a_thread(&layer.blob),
            unpacker: &self.config.unpacker,
        };
        let (blob, promise) = shared.place.blob(&layer.blob)?;
        let digest = promise.digest.clone();
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
        let intake = Intake::new(blob, promise, heard);
        let (mut done, size) = unpack_stream(intake, destination, means, &what).map_err(limits::explain)?;
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
        Ok(UnpackedBlob { staged, unpacked: done.unpacked, digest, size })
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
}
