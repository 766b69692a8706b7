//! Archives of images: layouts, and what `docker save` writes.

use loam_image::fuzzing;
use loam_testkit::archives::Tar;
use loam_testkit::hostile::digest;
use serde_json::json;

use super::documents::{CONFIG, INDEX, LAYER, MANIFEST, WORDS as DOCUMENT_WORDS};
use super::{seed, selected};
use crate::{Target, checksums, sentence};

/// The target. The first byte says what the rest is: an archive whose checksums are mended; or a `manifest.json`, or an
/// `index.json`, which gets an archive with the other parts around it. With the second bit an image is asked for by name.
pub const TARGET: Target = Target { name: "image_files", run, seeds, words: DOCUMENT_WORDS };

/// What the archives have for parts.
struct Parts {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Parts {
    fn new() -> Self {
        let layer = Tar::default().file("a", b"x").end();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "os": "linux", "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = config.to_string().into_bytes();
        let described = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(CONFIG, &config), "layers": [described(LAYER, &layer)],
        });
        Self { layer, config, manifest: manifest.to_string().into_bytes() }
    }

    /// An archive of `docker save`.
    fn saved(&self, list: &[u8]) -> Vec<u8> {
        Tar::default()
            .file("manifest.json", list)
            .file("c.json", &self.config)
            .file("l/layer.tar", &self.layer)
            .symlink("again/layer.tar", "../l/layer.tar")
            .end()
    }

    /// An archive of a layout.
    fn layout(&self, index: &[u8]) -> Vec<u8> {
        let mut tar =
            Tar::default().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", index);
        for blob in [&self.layer, &self.config, &self.manifest] {
            tar = tar.file(&format!("blobs/{}", digest(blob).replace(':', "/")), blob);
        }
        tar.end()
    }
}

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    let archive = match how & 3 {
        0 | 1 => checksums::mended(rest),
        2 => Parts::new().saved(rest),
        _ => Parts::new().layout(rest),
    };
    let name = (how & 4 != 0).then_some("small:1");
    match fuzzing::archived_images(&archive, name) {
        Ok(came) => {
            // Members may be named several times.
            let layers = 1 + rest.len() as u64;
            assert!(came <= archive.len() as u64 * layers, "{came} bytes came of {}", archive.len());
        }
        Err(failure) => sentence::check(&failure),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let parts = Parts::new();
    let list = json!([{ "Config": "c.json", "RepoTags": ["small:1", "other/name:2"], "Layers": ["again/layer.tar"] }]);
    let list = list.to_string();
    let entry = json!({
        "mediaType": MANIFEST, "digest": digest(&parts.manifest), "size": parts.manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "small:1", "io.containerd.image.name": "x/small:1" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let several =
        json!({ "schemaVersion": 2, "manifests": [entry, entry, { "digest": digest(b""), "size": 0 }] });
    vec![
        seed(0, parts.saved(list.as_bytes())),
        seed(0, parts.layout(index.as_bytes())),
        seed(2, &list),
        seed(6, &list),
        seed(2, "[]"),
        seed(3, &index),
        seed(7, &index),
        seed(3, several.to_string()),
    ]
}
