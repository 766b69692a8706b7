//! What the tests of this crate share: tars of any shape, sources that lie, a store.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loam_model::{Digest, Failure, LayerProgress, PullProgress, Result};
use loam_registry::Bytes;
use loam_state::Database;
pub(crate) use loam_testkit::archives::Tar;
pub(crate) use loam_testkit::is_root;

use crate::document::{Descriptor, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, RawDocument};
use crate::hashing::sha256;
use crate::intake::{Blob, Promise};
use crate::source::Source;
use crate::{LayerStore, SCHEMA, StoreConfig, Unpacker};

/// An image in memory, and the lies that are told about it.
#[derive(Default)]
pub(crate) struct Liar {
    /// What is sent for a blob.
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
    manifest: Option<RawDocument>,
    /// How often a layer was asked for.
    pub(crate) fetched: AtomicUsize,
}

impl Liar {
    /// An image of these layer tars, sent as they are.
    pub(crate) fn honest(layers: &[Vec<u8>]) -> Self {
        let blobs: Vec<(Vec<u8>, Digest)> = layers.iter().map(|tar| (tar.clone(), sha256(tar))).collect();
        Self::with(&blobs)
    }

    /// An image of these blobs, each with its diff id.
    pub(crate) fn with(layers: &[(Vec<u8>, Digest)]) -> Self {
        let mut liar = Self::default();
        let diff_ids: Vec<&Digest> = layers.iter().map(|(_, diff_id)| diff_id).collect();
        let config = serde_json::json!({
            "os": "linux", "architecture": crate::platform::Platform::host().architecture,
            "created": "2026-01-02T03:04:05Z",
            "config": { "Cmd": ["true"] }, "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = liar.add(config.to_string().into_bytes(), OCI_CONFIG);
        let described: Vec<serde_json::Value> =
            layers.iter().map(|(blob, _)| liar.add(blob.clone(), OCI_LAYER)).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": described,
        });
        let bytes = manifest.to_string().into_bytes();
        let digest = sha256(&bytes);
        liar.manifest = Some(RawDocument { media_type: OCI_MANIFEST.to_owned(), digest, bytes });
        liar
    }

    fn add(&mut self, bytes: Vec<u8>, kind: &str) -> serde_json::Value {
        let digest = sha256(&bytes);
        let descriptor = serde_json::json!({ "mediaType": kind, "digest": digest, "size": bytes.len() });
        self.blobs.insert(digest, bytes);
        descriptor
    }
}

struct Pieces(Vec<Bytes>);

impl Blob for Pieces {
    fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.pop())
    }
}

impl Source for Liar {
    fn top(&self) -> Result<RawDocument> {
        Ok(self.manifest.clone().expect("an image"))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        Err(Failure::new(loam_model::ErrorKind::NotFound, descriptor.digest.to_string()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let bytes = &self.blobs[&descriptor.digest];
        // Odd pieces, so that nothing may depend on where they end.
        let mut pieces: Vec<Bytes> = bytes.chunks(777).map(Bytes::copy_from_slice).collect();
        pieces.reverse();
        let promise = Promise { digest: Some(descriptor.digest.clone()), size: Some(descriptor.size) };
        Ok((Box::new(Pieces(pieces)), promise))
    }
}

/// Keeps what a pull reports.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<(Digest, LayerProgress)>>);

impl PullProgress for Heard {
    fn layer(&self, blob: &Digest, progress: LayerProgress) {
        self.0.lock().expect("no panic").push((blob.clone(), progress));
    }
    fn note(&self, _: &str) {}
}

/// A store in a directory.
pub(crate) fn store(root: &Path) -> LayerStore {
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    LayerStore::open(config(root), database)
}

/// How it is set up: nothing that it pulls is protected for longer than the pull.
pub(crate) fn config(root: &Path) -> StoreConfig {
    StoreConfig { lease: Duration::ZERO, ..StoreConfig::new(root, Unpacker::InProcess) }
}

/// Names of everything in the places where only unfinished things are.
pub(crate) fn leftovers(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for place in ["staging", "trash", "layer-locks"] {
        let Ok(entries) = std::fs::read_dir(root.join(place)) else { continue };
        found.extend(entries.map(|entry| format!("{place}/{}", entry.expect("entry").file_name().display())));
    }
    found
}
