//! Manifest and configuration of an image on its way out: as they came, unless layers were packed anew.

use loam_model::{Digest, Failure, Image, Result};
use serde_json::Value;

use super::layers::{Layer, Sent};
use crate::LayerStore;
use crate::document::{Config, Document, Manifest, RawDocument};
use crate::error::invalid;
use crate::hashing::sha256;

/// Docker's kind of manifest (Docker's image manifest, version 2, schema 2).
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What an image is described by.
pub(super) struct Documents {
    media_type: String,
    manifest: Vec<u8>,
    config: Vec<u8>,
    id: Digest,
    parsed: Manifest,
    diff_ids: Vec<Digest>,
}

/// What packing layers anew has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Nothing,
    /// So many blobs: the manifest's digest.
    Blobs(usize),
    /// So many archives, too: the image's id.
    Archives(usize),
}

impl Changed {
    /// What a person should know of it.
    pub(super) fn sentence(self, id: &Digest) -> Option<String> {
        let layers =
            |count| if count == 1 { "1 layer was".to_owned() } else { format!("{count} layers were") };
        match self {
            Changed::Nothing => None,
            Changed::Blobs(count) => {
                Some(format!("{} compressed anew, so the image has another digest there", layers(count)))
            }
            Changed::Archives(count) => {
                Some(format!("{} packed anew, so the image has another id there, {id}", layers(count)))
            }
        }
    }
}

impl Documents {
    /// Reads what the store has of an image.
    pub(super) fn read(store: &LayerStore, image: &Image) -> Result<Self> {
        let (manifest, config) = (store.document(&image.manifest)?, store.document(&image.id)?);
        let media_type = store.database.read(|connection| {
            connection.query_row(
                "SELECT media_type FROM image WHERE id = ?1",
                [image.id.to_string()],
                |row| row.get::<_, String>(0),
            )
        })?;
        let name = format!("`{}`", image.id);
        let raw = RawDocument { media_type, digest: image.manifest.clone(), bytes: manifest };
        let Document::Manifest(parsed) = Document::parse(&raw, &name)? else {
            return Err(invalid(format!("the manifest of {name} is an index")));
        };
        let diff_ids = Config::parse(&config, &name)?.diff_ids;
        let (media_type, manifest) = (raw.media_type, raw.bytes);
        let mut documents = Self { media_type, manifest, config, id: image.id.clone(), parsed, diff_ids };
        if documents.media_type.is_empty() || documents.media_type.starts_with("application/json") {
            documents.media_type = documents.own_media_type();
        }
        Ok(documents)
    }

    /// The layers, the lowest first.
    pub(super) fn layers(&self) -> Result<Vec<Layer>> {
        if self.parsed.layers.len() != self.diff_ids.len() {
            return Err(invalid(format!("the configuration of `{}` does not fit its manifest", self.id)));
        }
        let pairs = self.parsed.layers.iter().zip(&self.diff_ids);
        Ok(pairs.map(|(blob, diff_id)| Layer { blob: blob.clone(), diff_id: diff_id.clone() }).collect())
    }

    /// Writes what layers have become into the documents.
    pub(super) fn replace(&mut self, sent: &[Sent]) -> Result<Changed> {
        let blobs = sent.iter().filter(|sent| matches!(sent, Sent::Packed { .. })).count();
        if blobs == 0 {
            return Ok(Changed::Nothing);
        }
        let mut config: Value = serde_json::from_slice(&self.config).map_err(malformed)?;
        let mut archives = 0;
        for (position, sent) in sent.iter().enumerate() {
            if let Sent::Packed { diff_id, .. } = sent
                && *diff_id != self.diff_ids[position]
            {
                config["rootfs"]["diff_ids"][position] = diff_id.to_string().into();
                archives += 1;
            }
        }
        let mut manifest: Value = serde_json::from_slice(&self.manifest).map_err(malformed)?;
        let layer_type = if self.media_type == DOCKER_MANIFEST { DOCKER_LAYER } else { OCI_LAYER };
        for (position, sent) in sent.iter().enumerate() {
            if let Sent::Packed { digest, size, .. } = sent {
                // What annotations said was about the other blob.
                let descriptor =
                    serde_json::json!({ "mediaType": layer_type, "digest": digest, "size": size });
                manifest["layers"][position] = descriptor;
            }
        }
        if archives > 0 {
            self.config = config.to_string().into_bytes();
            self.id = sha256(&self.config);
            manifest["config"]["digest"] = self.id.to_string().into();
            manifest["config"]["size"] = self.config.len().into();
            if let Some(config) = manifest["config"].as_object_mut() {
                config.remove("data");
            }
        }
        self.manifest = manifest.to_string().into_bytes();
        Ok(if archives > 0 { Changed::Archives(archives) } else { Changed::Blobs(blobs) })
    }

    pub(super) fn id(&self) -> Digest {
        self.id.clone()
    }

    pub(super) fn config(&self) -> &[u8] {
        &self.config
    }

    pub(super) fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    pub(super) fn media_type(&self) -> &str {
        &self.media_type
    }

    /// What the manifest says of itself.
    fn own_media_type(&self) -> String {
        let parsed: Option<Value> = serde_json::from_slice(&self.manifest).ok();
        let own = parsed.and_then(|value| Some(value.get("mediaType")?.as_str()?.to_owned()));
        own.unwrap_or_else(|| crate::document::OCI_MANIFEST.to_owned())
    }
}

fn malformed(error: serde_json::Error) -> Failure {
    invalid("the image's documents can't be read again".to_owned()).caused_by(error)
}
