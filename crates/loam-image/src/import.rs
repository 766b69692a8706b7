//! Importing the tar of a root file system.

use std::io::Read;
use std::sync::atomic::AtomicBool;

use loam_model::{Digest, DigestAlgorithm, Image, ImageConfig, ImageStore as _, Result};
use loam_unpack::Means;

use crate::document::{Config, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, RawDocument, write_config};
use crate::error::wrap;
use crate::hashing::sha256;
use crate::intake::{Intake, Promise, ReaderBlob};
use crate::layer_lock::{LayerLock, Waiting};
use crate::platform::Platform;
use crate::pull::{Described, Held, HeldLayer};
use crate::record::NewLayer;
use crate::staging::StagedLayer;
use crate::stream::unpack_stream;
use crate::{LayerStore, names};

impl LayerStore {
    pub(crate) fn import_tar(
        &self,
        tar: &mut (dyn Read + Send),
        name: &str,
        config: &ImageConfig,
    ) -> Result<Image> {
        let name = names::given(name)?;
        let what = "the root file system can't be unpacked";
        let promise = Promise { digest: None, size: None };
        let mut intake = Intake::new(Box::new(ReaderBlob(tar)), promise, &|_| {});
        // The tar may come from a pipe that nobody writes to yet. Until it begins there is nothing: no directory, no lock, no
        // process. While it is on its way there is a directory of its own, for which nobody waits.
        intake.start().map_err(|failure| wrap(failure, what))?;
        self.sweep();
        self.database.require_space()?;
        let budget = self.budget()?;
        let mut held = Held::none(&self.places)?;
        let staged = StagedLayer::new(&self.places)?;
        let means = Means {
            budget: &budget,
            stop: &AtomicBool::new(false),
            algorithm: DigestAlgorithm::Sha256,
            own_thread: true,
            unpacker: &self.config.unpacker,
        };
        let (done, _blob_size) = unpack_stream(intake, staged.destination()?, means, what)?;
        if !done.is_recorded {
            staged.forget_split()?;
        }
        let diff_id = done.diff_id;
        let described = describe(name, config, &diff_id, done.length)?;
        // Only now is it known what the layer is; if it is there already, this copy is dropped.
        let (patience, stop) = (self.config.lock_patience, AtomicBool::new(false));
        let wait = Waiting::for_layer(done.length, patience, &stop);
        let lock = LayerLock::take(&self.places, &diff_id, wait, || {})?;
        let record = NewLayer {
            diff_id: diff_id.clone(),
            directory: staged.id().to_owned(),
            size: done.unpacked.size,
            entries: done.unpacked.entries,
            blob: None,
            blob_size: done.length,
        };
        if !self.has_layer(&diff_id)? {
            held.layers.insert(diff_id, HeldLayer::new(staged, lock, done.unpacked, record));
            return self.commit_all(&described, &mut held);
        }
        match self.commit(&described, &mut held)? {
            Some(image) => Ok(image),
            // It was removed between the question and the commit: the copy is needed after all.
            None => {
                held.layers.insert(diff_id, HeldLayer::new(staged, lock, done.unpacked, record));
                self.commit_all(&described, &mut held)
            }
        }
    }

    /// Commits an image all of whose layers are held: nothing but its blobs can be missed.
    fn commit_all(&self, described: &Described, held: &mut Held) -> Result<Image> {
        loop {
            if let Some(image) = self.commit(described, held)? {
                return Ok(image);
            }
        }
    }
}

/// The documents of an image that came without any.
fn describe(name: String, config: &ImageConfig, diff_id: &Digest, length: u64) -> Result<Described> {
    let created = jiff::Timestamp::from_second(crate::record::now()).unwrap_or_default().to_string();
    let config_bytes = write_config(config, &Platform::host(), &created, diff_id)?;
    let id = sha256(&config_bytes);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": OCI_CONFIG, "digest": id, "size": config_bytes.len() },
        "layers": [{ "mediaType": OCI_LAYER, "digest": diff_id, "size": length }],
    });
    let bytes = manifest.to_string().into_bytes();
    let manifest = RawDocument { media_type: OCI_MANIFEST.to_owned(), digest: sha256(&bytes), bytes };
    let config = Config::parse(&config_bytes, &format!("`{name}`"))?;
    Ok(Described { manifest, id, config_bytes, config, name: Some(name) })
}
