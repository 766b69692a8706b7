//! A small image in memory, for the hostile registry.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{Answer, Request};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The SHA-256 digest of some bytes, as text.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An image: one manifest, and the blobs it names, by digest.
#[derive(Clone, Debug)]
pub struct Image {
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The media type of the manifest.
    pub media_type: String,
    /// Configuration and layers.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The digests of the layers, the lowest first.
    pub layers: Vec<String>,
}

impl Image {
    /// An image of these layers, uncompressed tars, that runs nothing.
    pub fn of_layers(layers: &[Vec<u8>]) -> Self {
        Self::with_config(layers, &serde_json::json!({}))
    }

    /// An image of these layers with this `config` in its configuration.
    pub fn with_config(layers: &[Vec<u8>], config: &serde_json::Value) -> Self {
        let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = serde_json::json!({
            "architecture": architecture(), "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        let config = config.to_string().into_bytes();
        let descriptor = |media_type: &str, bytes: &[u8]| serde_json::json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        });
        let blobs = layers.iter().chain([&config]).map(|blob| (digest(blob), blob.clone())).collect();
        Self {
            manifest: manifest.to_string().into_bytes(),
            media_type: MANIFEST.to_owned(),
            blobs,
            layers: digests,
        }
    }

    /// A tar with regular files of these names and contents. Names are written as they are, whatever they are.
    pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, contents) in files {
            let mut header = tar::Header::new_ustar();
            // Not `set_path`, which refuses what a hostile archive has.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *contents).expect("writing to memory works");
        }
        builder.into_inner().expect("writing to memory works")
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// The honest answer to a request: the manifest under every tag and its digest, the blobs, and parts of them.
    pub fn answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some((_, selector)) = path.rsplit_once("/manifests/") {
            if selector.contains(':') && selector != self.digest() {
                return Answer::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown");
            }
            return Answer::new(200).header("Content-Type", &*self.media_type).body(self.manifest.clone());
        }
        let blob = path.rsplit_once("/blobs/").and_then(|(_, digest)| self.blobs.get(digest));
        match blob {
            Some(blob) => part(blob, request.header("range")),
            None => Answer::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        }
    }
}

/// A blob, or the part of it that is asked for.
fn part(blob: &[u8], range: Option<&str>) -> Answer {
    let Some((start, end)) = range.and_then(|range| asked(range, blob.len())) else {
        return Answer::new(200).body(blob);
    };
    if start >= end {
        return Answer::new(416);
    }
    let range = format!("bytes {start}-{}/{}", end - 1, blob.len());
    Answer::new(206).header("Content-Range", range).body(&blob[start..end])
}

/// Where a range such as `bytes=5-9` or `bytes=5-` begins, and behind its end.
pub fn asked(range: &str, length: usize) -> Option<(usize, usize)> {
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = if last.is_empty() { length } else { last.parse::<usize>().ok()? + 1 };
    Some((start.parse().ok()?, end.min(length)))
}

/// This machine's architecture as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
