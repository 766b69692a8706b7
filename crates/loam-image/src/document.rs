//! Manifests, indexes and configurations (image specification, manifest.md, image-index.md, config.md; Docker's
//! image manifest, version 2, schema 2), read with distrust. The bytes are never written anew: their digest is what
//! names them.

mod config;
mod select;

use std::collections::BTreeMap;

use loam_model::{Digest, ErrorKind, Failure, Result, shown};
use serde::Deserialize;

pub(crate) use config::{Config, write_config};
pub(crate) use select::{choose as choose_entry, select};

use crate::error::invalid;
use crate::platform::Platform;

/// The largest manifest, index, or list of an archive that is read.
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;
/// The largest configuration that is read.
pub(crate) const CONFIG_LIMIT: u64 = 8 << 20;
/// The most layers of an image; overlayfs takes no more.
const LAYER_LIMIT: usize = 500;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The bytes of a manifest or index.
#[derive(Clone, Debug)]
pub(crate) struct RawDocument {
    /// What the source says it is; empty when it does not.
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
}

/// A pointer to content (descriptor.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: Option<String>,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    /// Where the content can be fetched as well.
    #[serde(default)]
    pub(crate) urls: Option<Vec<String>>,
}

impl Descriptor {
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// A manifest's content.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// What a document turned out to be.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// Every member that decides what a document is, so that one which could be two things is noticed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document; `name` is what messages call it.
    pub(crate) fn parse(raw: &RawDocument, name: &str) -> Result<Self> {
        let bad = |what: String| invalid(format!("the manifest of {name} {what}"));
        let members: Members = serde_json::from_slice(&raw.bytes)
            .map_err(|error| bad("is malformed".to_owned()).caused_by(error))?;
        if members.schema_version == Some(1) || members.fs_layers.is_some() {
            return Err(unsupported(format!("the image {name} is in Docker's old schema 1"))
                .hint("push it anew with a current tool"));
        }
        if members.schema_version != Some(2) {
            return Err(bad("has an unknown schema version".to_owned()));
        }
        let declared = members.media_type.as_deref().unwrap_or("");
        let said = raw.media_type.as_str();
        if !declared.is_empty() && !said.is_empty() && said != declared {
            return Err(bad(format!(
                "is served as `{}` and says that it is `{}`",
                shown(said),
                shown(declared)
            )));
        }
        let kind = if declared.is_empty() { said } else { declared };
        match (members.manifests, members.config, members.layers) {
            (Some(manifests), None, None) => {
                check_kind(kind, &[OCI_INDEX, DOCKER_LIST], &bad)?;
                Ok(Document::Index(manifests))
            }
            (None, Some(config), layers) => {
                check_kind(kind, &[OCI_MANIFEST, DOCKER_MANIFEST], &bad)?;
                let layers = layers.unwrap_or_default();
                let manifest = Manifest { config, layers };
                manifest.check(name, members.artifact_type.as_deref())?;
                Ok(Document::Manifest(manifest))
            }
            (None, None, _) => Err(bad("is neither an image's nor an index".to_owned())),
            (Some(_), _, _) => Err(bad("is an image's and an index at once".to_owned())),
        }
    }
}

impl Manifest {
    fn check(&self, name: &str, artifact: Option<&str>) -> Result<()> {
        let config = self.config.media_type.as_deref().unwrap_or("");
        if !matches!(config, OCI_CONFIG | DOCKER_CONFIG) {
            let kind = artifact.filter(|kind| !kind.is_empty()).unwrap_or(config);
            return Err(unsupported(format!(
                "{name} is not a container image, but an artifact of the type `{}`",
                shown(kind)
            )));
        }
        if self.layers.len() > LAYER_LIMIT {
            return Err(unsupported(format!(
                "the image {name} has {} layers where at most {LAYER_LIMIT} can be mounted",
                self.layers.len()
            )));
        }
        for layer in &self.layers {
            check_layer(layer)?;
        }
        Ok(())
    }
}

/// Whether a descriptor is that of a configuration.
pub(crate) fn is_config(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type.as_deref(), Some(OCI_CONFIG | DOCKER_CONFIG))
}

/// Whether a layer is not meant for registries (image specification, layer.md, "Non-Distributable Layers").
pub(crate) fn stays_away(blob: &Descriptor) -> bool {
    let kind = blob.media_type.as_deref().unwrap_or_default();
    kind.contains(".nondistributable.") || kind.contains(".foreign.")
}

fn check_kind(kind: &str, allowed: &[&str], bad: &dyn Fn(String) -> Failure) -> Result<()> {
    // Some registries serve any JSON as such.
    if kind.is_empty() || kind.starts_with("application/json") || allowed.contains(&kind) {
        return Ok(());
    }
    Err(bad(format!("does not fit its media type `{}`", shown(kind))))
}

/// Refuses what is no tar, or can't be read.
fn check_layer(layer: &Descriptor) -> Result<()> {
    let kind = layer.media_type.as_deref().unwrap_or("");
    if kind.ends_with("+encrypted") {
        return Err(unsupported(format!("layer `{}` is encrypted", layer.digest)));
    }
    let rest =
        ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"]
            .iter()
            .find_map(|prefix| kind.strip_prefix(prefix));
    let docker = [
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ]
    .iter()
    .find_map(|prefix| kind.strip_prefix(prefix));
    let known =
        matches!(rest, Some("" | "+gzip" | "+zstd")) || matches!(docker, Some("" | ".gzip" | ".zstd"));
    if known {
        return Ok(());
    }
    Err(unsupported(format!(
        "layer `{}` has the media type `{}`, which is no layer's",
        layer.digest,
        shown(kind)
    )))
}

pub(crate) fn unsupported(what: String) -> Failure {
    Failure::new(ErrorKind::Unsupported, what)
}

#[cfg(test)]
mod tests;
