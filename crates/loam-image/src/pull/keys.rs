//! What the store knows the layers of an image by.
//!
//! That is the diff id, as long as the layer's contents are held against it. A layer that is not verified, or that is
//! unpacked somewhere else than at the root, must never be taken for the one whose diff id it claims: it is known by a
//! digest made of everything that it is said to be. The image then gets documents of the store's own, which name its
//! layers so, and with them an id that no verified image has.

use std::collections::HashSet;

use loam_model::{Digest, PullOptions, Result, Verification};
use serde_json::{Value, json};

use super::Described;
use super::layers::NeededLayer;
use crate::base_directory::BaseDirectory;
use crate::document::{Config, Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, RawDocument};
use crate::error::invalid;
use crate::hashing::sha256;

/// The layers of an image, and what the store knows them by.
#[derive(Debug)]
pub(super) struct Keyed {
    /// Each once, in the order in which the image first has them.
    pub(super) needed: Vec<NeededLayer>,
    /// What the store knows the layers by, the lowest first.
    keys: Vec<Digest>,
    is_plain: bool,
}

impl Keyed {
    pub(super) fn new(config: &Config, manifest: &Manifest, options: &PullOptions) -> Result<Self> {
        let mut keyed = Self { needed: Vec::new(), keys: Vec::new(), is_plain: true };
        let mut seen = HashSet::new();
        for (diff_id, blob) in config.diff_ids.iter().zip(&manifest.layers) {
            let layer = layer(diff_id, blob, options)?;
            keyed.is_plain &= layer.diff_id == *diff_id;
            keyed.keys.push(layer.diff_id.clone());
            if seen.insert(layer.diff_id.clone()) {
                keyed.needed.push(layer);
            }
        }
        Ok(keyed)
    }

    /// Whether all layers are known by their diff ids.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The documents of an image whose layers are known otherwise. The same image always gets the same.
    pub(super) fn describe(
        &self,
        config_bytes: &[u8],
        shown: &str,
        name: Option<String>,
    ) -> Result<Described> {
        let mut config: Value = serde_json::from_slice(config_bytes).map_err(|error| {
            invalid(format!("the configuration of {shown} is malformed")).caused_by(error)
        })?;
        config["rootfs"] = json!({ "type": "layers", "diff_ids": self.keys });
        let config_bytes = config.to_string().into_bytes();
        let id = sha256(&config_bytes);
        let layers: Vec<Value> =
            self.keys.iter().map(|key| json!({ "mediaType": OCI_LAYER, "digest": key, "size": 0 })).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": { "mediaType": OCI_CONFIG, "digest": id, "size": config_bytes.len() },
            "layers": layers,
        });
        let bytes = manifest.to_string().into_bytes();
        let manifest = RawDocument { media_type: OCI_MANIFEST.to_owned(), digest: sha256(&bytes), bytes };
        let config = Config::parse(&config_bytes, shown)?;
        Ok(Described { manifest, id, config_bytes, config, name })
    }
}

fn layer(diff_id: &Digest, blob: &Descriptor, options: &PullOptions) -> Result<NeededLayer> {
    let base = match &options.extensions {
        Some(_) => BaseDirectory::of(blob)?,
        None => None,
    };
    let is_verified = options.verification == Verification::Full;
    let contents = is_verified.then(|| diff_id.clone());
    let key = match (&base, is_verified) {
        (None, true) => diff_id.clone(),
        (base, _) => {
            let trust = if is_verified { "verified" } else { "unverified" };
            let below = base.as_ref().map_or(String::new(), BaseDirectory::to_string);
            let claims = format!("loam {trust} layer\0{diff_id}\0{}\0{below}", blob.digest);
            sha256(claims.as_bytes())
        }
    };
    Ok(NeededLayer { diff_id: key, blob: blob.clone(), contents, base })
}
