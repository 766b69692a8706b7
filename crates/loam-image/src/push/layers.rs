//! The layers of an image on their way out, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use loam_model::{Digest, ErrorKind, Failure, LayerProgress, PullProgress, Result};
use loam_registry::{Client, Reference, RegistryError};
use loam_state::Durability;
use loam_unpack::Reassembled;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::runtime::Runtime;

use super::kept::KeptBlob;
use super::packed::PackedLayer;
use crate::catalog::{self, parsed};
use crate::document::{Descriptor, stays_away};
use crate::hashing::is_digest_of;
use crate::save::{damaged, measure};
use crate::staging::open_directory;
use crate::threads::share;
use crate::{LayerStore, names};

/// How many other repositories are asked for a blob.
const MOST_SOURCES: usize = 3;
/// How many layers are sent at once.
const MOST_THREADS: usize = 3;

/// A layer of the image.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
}

/// What the registry has of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The blob that it came as.
    AsItCame,
    /// Another one.
    Packed { digest: Digest, size: u64, diff_id: Digest },
}

/// Where to.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) client: &'a Client,
    pub(super) runtime: &'a Runtime,
    pub(super) reference: &'a Reference,
    pub(super) progress: &'a dyn PullProgress,
}

impl LayerStore {
    /// Sees to it that the registry has all layers.
    pub(super) fn push_layers(&self, target: &Target<'_>, layers: &[Layer]) -> Result<Vec<Sent>> {
        let mut waiting: Vec<&Layer> = Vec::new();
        for layer in layers {
            if !waiting.iter().any(|known| known.diff_id == layer.diff_id) {
                waiting.push(layer);
            }
        }
        // The lowest layers are most often the largest.
        waiting.reverse();
        let threads = waiting.len().min(MOST_THREADS);
        let (queue, done) = (Mutex::new(waiting), Mutex::new((BTreeMap::new(), None::<Failure>)));
        let work = || loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(layer) = next else { return };
            let sent = self.push_layer(target, layer);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match sent {
                Ok(sent) => drop(done.0.insert(layer.diff_id.clone(), sent)),
                Err(failure) => {
                    queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    done.1.get_or_insert(failure);
                }
            }
        };
        share(threads, work);
        let (sent, failure) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) => Err(failure),
            None => Ok(layers.iter().map(|layer| sent[&layer.diff_id].clone()).collect()),
        }
    }

    fn push_layer(&self, target: &Target<'_>, layer: &Layer) -> Result<Sent> {
        let digest = &layer.blob.digest;
        if stays_away(&layer.blob) {
            return Ok(Sent::AsItCame);
        }
        let sources =
            self.database.read(|connection| other_repositories(connection, layer, target.reference))?;
        if self.is_there(target, digest, &sources)? {
            target.progress.layer(digest, LayerProgress::Present);
            return Ok(Sent::AsItCame);
        }
        let known = self.database.read(|connection| packed_before(connection, &layer.diff_id))?;
        if let Some(sent @ Sent::Packed { digest: blob, .. }) = &known
            && self.is_there(target, blob, &sources)?
        {
            target.progress.layer(digest, LayerProgress::Present);
            return Ok(sent.clone());
        }
        if let Some(sent) = self.push_kept(target, layer)? {
            return Ok(sent);
        }
        self.pack_layer(target, layer)
    }

    /// Sends the blob as it came, if the store has kept it.
    fn push_kept(&self, target: &Target<'_>, layer: &Layer) -> Result<Option<Sent>> {
        let Descriptor { digest, size, .. } = &layer.blob;
        let row = self.database.read(|connection| catalog::layer(connection, &layer.diff_id))?;
        let Some(row) = row else { return Ok(None) };
        let file = self.places.kept_blob(&row.directory);
        if std::fs::metadata(&file).map_or(0, |found| found.len()) != *size {
            return Ok(None);
        }
        let read = |file: &Path| File::open(file).and_then(|file| is_digest_of(file, digest));
        match read(&file) {
            Ok(true) => {}
            Ok(false) => return Ok(damaged_blob(digest)),
            Err(error) => {
                return Err(crate::error::failed(
                    format!("the blob `{}` can't be read", file.display()),
                    error,
                ));
            }
        }
        target.progress.layer(digest, LayerProgress::Started { size: *size });
        let kept = KeptBlob::new(file, digest, target.progress);
        let what = format!("layer {}", digest.short());
        let pushed = target.client.push_blob(target.reference, &kept, &what);
        let (found, _) = target.runtime.block_on(pushed).map_err(RegistryError::into_failure)?;
        if found != *digest {
            // It changed while it was sent. The registry has a blob that nothing names, and will collect it.
            return Ok(damaged_blob(digest));
        }
        target.progress.layer(digest, LayerProgress::Done);
        Ok(Some(Sent::AsItCame))
    }

    /// Whether the repository has a blob, or can have it from another one.
    fn is_there(&self, target: &Target<'_>, digest: &Digest, sources: &[String]) -> Result<bool> {
        let Target { client, reference, .. } = target;
        let asked = target.runtime.block_on(async {
            if client.has_blob(reference, digest).await? {
                return Ok(true);
            }
            for source in sources {
                match client.mount_blob(reference, digest, source).await {
                    Ok(false) => {}
                    Ok(true) => return Ok(true),
                    // It is a shorter way, and no condition.
                    Err(error) => {
                        tracing::debug!(%error, source, "a blob can't be had from another repository");
                    }
                }
            }
            Ok(false)
        });
        asked.map_err(RegistryError::into_failure)
    }

    fn pack_layer(&self, target: &Target<'_>, layer: &Layer) -> Result<Sent> {
        let (shown, diff_id) = (&layer.blob.digest, &layer.diff_id);
        let row = self.database.read(|connection| catalog::layer(connection, diff_id))?;
        let row = row.ok_or_else(|| gone(diff_id))?;
        let root = open_directory(&self.places.diff(&row.directory))
            .map_err(|error| crate::error::failed(format!("layer `{diff_id}` can't be opened"), error))?;
        let split = Some(self.places.split(&row.directory)).filter(|split| split.exists());
        let is_recorded = split.is_some();
        if let Some(split) = &split {
            // Before anything is sent: reading and hashing costs a small part of what compressing does.
            check_tar(split, &root, diff_id)?;
        }
        target.progress.layer(shown, LayerProgress::Started { size: layer.blob.size });
        let packed = PackedLayer::new(root, split, diff_id.algorithm(), shown, target.progress);
        let what = format!("layer {}", shown.short());
        let pushed = target.client.push_blob(target.reference, &packed, &what);
        let (digest, size) = target.runtime.block_on(pushed).map_err(RegistryError::into_failure)?;
        // What was removed meanwhile was not read to its end.
        let now = self.database.read(|connection| catalog::layer(connection, diff_id))?;
        if now.is_none_or(|now| now.directory != row.directory) {
            return Err(gone(diff_id));
        }
        let packed = packed.diff_id().ok_or_else(|| gone(diff_id))?;
        if is_recorded && packed != *diff_id {
            return Err(damaged(diff_id));
        }
        let sent = Sent::Packed { digest, size, diff_id: packed };
        self.remember(diff_id, &sent)?;
        target.progress.layer(shown, LayerProgress::Done);
        Ok(sent)
    }

    /// Takes note of what a layer comes to, so that the next push need not pack it to find out.
    fn remember(&self, layer: &Digest, sent: &Sent) -> Result<()> {
        let Sent::Packed { digest, size, diff_id } = sent else { return Ok(()) };
        self.database.write(Durability::Unsynced, |transaction| {
            transaction.execute(
                "INSERT INTO packed_layer (layer, diff_id, blob, blob_size)
                 SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM layer WHERE diff_id = ?1)
                 ON CONFLICT (layer) DO UPDATE SET diff_id = ?2, blob = ?3, blob_size = ?4",
                params![
                    layer.to_string(),
                    diff_id.to_string(),
                    digest.to_string(),
                    i64::try_from(*size).unwrap_or(i64::MAX)
                ],
            )
        })?;
        Ok(())
    }
}

/// Holds the tar that a layer is put together to against its diff id.
fn check_tar(split: &Path, root: &OwnedFd, diff_id: &Digest) -> Result<()> {
    let unreadable = |error| crate::error::failed(format!("layer `{diff_id}` can't be read"), error);
    let record = File::open(split).map_err(unreadable)?;
    let root = root.try_clone().map_err(unreadable)?;
    let tar = Reassembled::new(record, root).map_err(unreadable)?;
    measure(tar, diff_id).map(drop)
}

/// What becomes of a layer whose kept blob is damaged: nothing is sent of that.
fn damaged_blob(digest: &Digest) -> Option<Sent> {
    tracing::warn!(%digest, "the blob that was kept is damaged, the layer is packed from its files");
    None
}

fn gone(diff_id: &Digest) -> Failure {
    let message = format!("layer `{diff_id}` was removed while it was pushed");
    Failure::new(ErrorKind::Conflict, message)
}

/// What a layer came to when it was packed for an earlier push.
fn packed_before(connection: &Connection, layer: &Digest) -> rusqlite::Result<Option<Sent>> {
    connection
        .query_row(
            "SELECT diff_id, blob, blob_size FROM packed_layer WHERE layer = ?1",
            [layer.to_string()],
            |row| {
                let size: i64 = row.get(2)?;
                let size = u64::try_from(size).unwrap_or(0);
                Ok(Sent::Packed { diff_id: parsed(row, 0)?, digest: parsed(row, 1)?, size })
            },
        )
        .optional()
}

/// Other repositories of the same registry that images with this layer are named after.
fn other_repositories(
    connection: &Connection,
    layer: &Layer,
    reference: &Reference,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT name FROM image_name JOIN image_layer USING (image) WHERE diff_id = ?1 ORDER BY name",
    )?;
    let found = statement.query_map([layer.diff_id.to_string()], |row| row.get::<_, String>(0))?;
    let mut repositories = BTreeSet::new();
    for name in found {
        let name = name?;
        if let Ok(known) = names::reference(&name)
            && names::has_registry(&name)
            && known.domain() == reference.domain()
            && known.path() != reference.path()
        {
            repositories.insert(known.path().to_owned());
        }
    }
    Ok(repositories.into_iter().take(MOST_SOURCES).collect())
}
