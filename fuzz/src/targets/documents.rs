//! Indexes, manifests, configurations, and the choice of an image.

use loam_image::fuzzing;
use serde_json::{Value, json};

use super::{seed, selected};
use crate::{Target, sentence};

/// The target. The first byte says what the rest is: a manifest or an index, by the media type that it is served as; a
/// configuration; or, with zeros between, a platform and the documents that are fetched one after another.
pub const TARGET: Target = Target { name: "documents", run, seeds, words: WORDS };

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What a document may be served as.
const TYPES: [&str; 6] = ["", INDEX, MANIFEST, LIST, DOCKER, "application/json"];

pub(super) const WORDS: &[&str] = &[
    "\"schemaVersion\":2",
    "\"mediaType\":",
    "\"artifactType\":",
    "\"manifests\":[",
    "\"layers\":[",
    "\"config\":{",
    "\"fsLayers\":[]",
    "\"digest\":\"sha256:",
    "\"size\":",
    "\"platform\":{",
    "\"os\":\"linux\"",
    "\"architecture\":\"amd64\"",
    "\"variant\":\"v8\"",
    "\"annotations\":{",
    "vnd.docker.reference.type",
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
    "\"Env\":[",
    "\"Volumes\":{",
    "\"ExposedPorts\":{",
    "\"Labels\":{",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.empty.v1+json",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "null",
    "\\u001b",
    "linux/arm/v7",
    "18446744073709551616",
];

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    match how % 8 {
        served @ 0..6 => {
            if let Err(failure) = fuzzing::document(rest, TYPES[usize::from(served)]) {
                sentence::check(&failure);
            }
        }
        6 => {
            if let Err(failure) = fuzzing::config(rest) {
                sentence::check(&failure);
            }
        }
        _ => select(rest),
    }
}

fn select(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let platform = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let documents: Vec<&[u8]> = parts.collect();
    match fuzzing::select(&documents, &platform) {
        Ok(chosen) => assert!(documents.contains(&&chosen[..]), "what was chosen was not there"),
        Err(failure) => sentence::check(&failure),
    }
}

/// A digest that nothing has.
pub(super) fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

fn manifest() -> Value {
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": digest("a"), "size": 2 },
        "layers": [{ "mediaType": LAYER, "digest": digest("b"), "size": 3, "annotations": { "k": "v" } }],
    })
}

fn index() -> Value {
    let entry = |digit: &str, platform: Value| json!({ "mediaType": MANIFEST, "digest": digest(digit), "size": 1, "platform": platform });
    json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [
            entry("1", json!({ "os": "linux", "architecture": "arm", "variant": "v6" })),
            entry("2", json!({ "os": "linux", "architecture": "amd64" })),
            entry("3", json!({ "os": "unknown", "architecture": "unknown" })),
            json!({ "mediaType": INDEX, "digest": digest("4"), "size": 9 }),
        ],
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let config = json!({
        "os": "linux", "architecture": "amd64", "variant": "v2", "created": "2026-01-02T03:04:05Z",
        "config": {
            "User": "7:8", "Env": ["A=b"], "Entrypoint": ["/x"], "Cmd": null, "WorkingDir": "/w",
            "Volumes": { "/data": {} }, "ExposedPorts": { "80/tcp": {} }, "Labels": { "k": "v" }, "StopSignal": "TERM",
        },
        "rootfs": { "type": "layers", "diff_ids": [digest("c")] },
    });
    let old = json!({ "schemaVersion": 1, "fsLayers": [] });
    let both = json!({ "schemaVersion": 2, "config": manifest()["config"], "layers": [], "manifests": [] });
    let (manifest, index) = (manifest().to_string(), index().to_string());
    vec![
        seed(0, &manifest),
        seed(2, &manifest),
        seed(4, manifest.replace(MANIFEST, DOCKER)),
        seed(0, &index),
        seed(1, &index),
        seed(3, index.replace(INDEX, LIST)),
        seed(0, old.to_string()),
        seed(0, both.to_string()),
        seed(6, config.to_string()),
        seed(7, format!("linux/amd64\0{index}\0{manifest}")),
        seed(7, format!("linux/arm/v7\0{index}\0{manifest}")),
        seed(7, format!("linux/s390x\0{index}\0{index}\0{index}\0{manifest}")),
        seed(7, format!("linux/arm/v429496729.9\0{index}\0{manifest}")),
    ]
}
