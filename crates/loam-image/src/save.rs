//! Images into an archive that everybody reads: an OCI image layout with Docker's `manifest.json` beside its index.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::Path;

use loam_model::{ArchivedImage, Digest, ErrorKind, Failure, Image, ImageArchives, Result};
use serde_json::{Value, json};
use tar::{Builder, Header};

use crate::document::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::error::failed;
use crate::hashing::{Hasher, sha256};
use crate::{LayerStore, source};

/// How much of a layer is read at a time.
const PIECE: usize = 256 << 10;

impl ImageArchives for LayerStore {
    fn save(&self, images: &[Image], archive: &mut dyn Write) -> Result<()> {
        let mut saving = Saving::new(archive);
        let mut seen = BTreeSet::new();
        for image in images.iter().filter(|image| seen.insert(&image.id)) {
            self.save_image(&mut saving, image)?;
        }
        saving.finish().map(drop)
    }

    fn contents(&self, archive: &Path) -> Result<Vec<ArchivedImage>> {
        source::contents(archive, &self.places.staging(), &self.config.unpacker)
    }
}

impl LayerStore {
    /// Writes what one image needs.
    fn save_image(&self, saving: &mut Saving<&mut dyn Write>, image: &Image) -> Result<()> {
        let config = crate::blobs::read(&self.places, &image.id)?;
        for diff_id in &image.layers {
            if saving.size_of(diff_id).is_none() {
                let size = measure(self.layer_tar(diff_id)?, diff_id)?;
                saving.blob(diff_id, size, self.layer_tar(diff_id)?)?;
            }
        }
        saving.image(&image.id, &config, &image.layers, &image.names).map(drop)
    }
}

/// An archive being written.
pub(crate) struct Saving<W: Write> {
    archive: Builder<W>,
    /// The blobs in it, and their sizes.
    blobs: BTreeMap<Digest, u64>,
    /// The entries of the layout's index, and of Docker's list.
    index: Vec<Value>,
    list: Vec<Value>,
}

impl<W: Write> Saving<W> {
    /// Begins an archive.
    pub(crate) fn new(writer: W) -> Self {
        let (blobs, index, list) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { archive: Builder::new(writer), blobs, index, list }
    }

    /// The size of a blob that is in it.
    pub(crate) fn size_of(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).copied()
    }

    /// Writes a blob, unless it is there.
    pub(crate) fn blob(&mut self, digest: &Digest, size: u64, bytes: impl Read) -> Result<()> {
        if self.blobs.insert(digest.clone(), size).is_some() {
            return Ok(());
        }
        append(&mut self.archive, &blob_path(digest), size, bytes).map_err(unwritten)
    }

    /// Writes an image whose layers are there; gives the digest of the manifest that it gets.
    pub(crate) fn image(
        &mut self,
        id: &Digest,
        config: &[u8],
        diff_ids: &[Digest],
        names: &[String],
    ) -> Result<Digest> {
        let layer = |diff_id: &Digest| {
            let size = self.blobs.get(diff_id).copied().unwrap_or_default();
            json!({ "mediaType": OCI_LAYER, "digest": diff_id, "size": size })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": { "mediaType": OCI_CONFIG, "digest": id, "size": config.len() },
            "layers": diff_ids.iter().map(layer).collect::<Vec<_>>(),
        });
        self.blob(id, config.len() as u64, config)?;
        let bytes = manifest.to_string().into_bytes();
        let digest = sha256(&bytes);
        self.blob(&digest, bytes.len() as u64, &bytes[..])?;
        let descriptor = json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": bytes.len() });
        self.index.extend(descriptors(&descriptor, names));
        self.list.push(json!({
            "Config": blob_path(id),
            "RepoTags": names,
            "Layers": diff_ids.iter().map(blob_path).collect::<Vec<_>>(),
        }));
        Ok(digest)
    }

    /// Writes the lists, and ends the archive.
    pub(crate) fn finish(mut self) -> Result<W> {
        let index =
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.index }).to_string();
        let list = Value::from(self.list).to_string();
        let files = [
            ("index.json", index.as_bytes()),
            ("manifest.json", list.as_bytes()),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ];
        for (path, bytes) in files {
            append(&mut self.archive, path, bytes.len() as u64, bytes).map_err(unwritten)?;
        }
        self.archive.into_inner().map_err(unwritten)
    }
}

/// Writes a file into an archive.
pub(crate) fn append<W: Write>(
    archive: &mut Builder<W>,
    path: &str,
    size: u64,
    bytes: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, path, bytes)
}

fn unwritten(error: io::Error) -> Failure {
    failed("the archive can't be written", error)
}

/// The names of blobs in a layout (image-layout.md, "Blobs").
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// The entries of the index for a manifest: one for each name, one without when there is none.
fn descriptors(manifest: &Value, names: &[String]) -> Vec<Value> {
    let named = |name: &String| {
        let mut descriptor = manifest.clone();
        // The first is what layouts have tags in, the second is where containerd and Docker look for the whole name.
        descriptor["annotations"] = json!({
            "org.opencontainers.image.ref.name": tag(name),
            "io.containerd.image.name": name,
        });
        descriptor
    };
    match names {
        [] => vec![manifest.clone()],
        names => names.iter().map(named).collect(),
    }
}

fn tag(name: &str) -> &str {
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

/// The failure for a layer whose files don't give its diff id.
pub(crate) fn damaged(diff_id: &Digest) -> Failure {
    let what = format!("layer `{diff_id}` is damaged: its files are not those that were pulled");
    Failure::new(ErrorKind::Internal, what).hint("remove the image and pull it again")
}

/// Reads a layer's tar to its end, holds it against its diff id, and gives its length.
pub(crate) fn measure(mut tar: impl Read, diff_id: &Digest) -> Result<u64> {
    let mut hasher = Hasher::new(diff_id.algorithm());
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    loop {
        match tar.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&piece[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(format!("layer `{diff_id}` can't be read"), error)),
        }
    }
    if hasher.finish() != *diff_id {
        return Err(damaged(diff_id));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loam_model::{ImageConfig, ImageSource, ImageStore as _, PullOptions};

    use super::*;
    use crate::fixture::{Heard, Tar, is_root, store};

    #[test]
    fn what_is_saved_is_pulled_with_the_same_id() {
        if !is_root("what_is_saved_is_pulled_with_the_same_id") {
            return;
        }
        let place = tempfile::tempdir().expect("a temporary directory");
        let store_at = |name: &str| {
            let root = place.path().join(name);
            std::fs::create_dir(&root).expect("a directory");
            Arc::new(store(&root))
        };
        let from = store_at("from");
        let tar = Tar::default().directory("d", 0o711).file("d/file", &[5; 3000]).end();
        let image =
            from.import(&mut &tar[..], "quay.io/team/app:3", &ImageConfig::default()).expect("imports");
        from.tag(&image.id, "second").expect("tagged");
        let image = from.resolve("second").expect("known");

        let mut archive = Vec::new();
        from.save(&[image.clone(), image.clone()], &mut archive).expect("saved");
        let file = place.path().join("saved.tar");
        std::fs::write(&file, &archive).expect("written");
        let found = from.contents(&file).expect("an archive");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].names, ["quay.io/team/app:3", "second:latest"]);
        let sources = [
            found[0].source.clone(),
            ImageSource::OciArchive { file: file.clone(), tag: Some("3".to_owned()) },
            ImageSource::DockerArchive { file, reference: Some("quay.io/team/app:3".to_owned()) },
        ];
        for (number, source) in sources.iter().enumerate() {
            let to = store_at(&number.to_string());
            let pulled = to.pull(source, &PullOptions::default(), &Heard::default()).expect("pulls");
            assert_eq!((&pulled.id, &pulled.layers), (&image.id, &image.layers), "{source:?}");
        }
    }

    #[test]
    fn damage_is_not_passed_on() {
        if !is_root("damage_is_not_passed_on") {
            return;
        }
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = store(root.path());
        let tar = Tar::default().file("file", b"text").end();
        let image = store.import(&mut &tar[..], "x", &ImageConfig::default()).expect("imports");
        let layers = std::fs::read_dir(root.path().join("layers")).expect("layers");
        for layer in layers {
            std::fs::write(layer.expect("a layer").path().join("diff/file"), b"TEXT").expect("damaged");
        }
        let failure = store.save(&[image], &mut Vec::new()).expect_err("damaged");
        assert!(failure.to_string().contains("is damaged"), "{failure}");
    }

    #[test]
    fn tags_are_what_follows_the_last_colon() {
        for (name, expected) in [("a:1", "1"), ("localhost:5000/a:2", "2"), ("localhost:5000/a", "latest")] {
            assert_eq!(tag(name), expected);
        }
    }
}
