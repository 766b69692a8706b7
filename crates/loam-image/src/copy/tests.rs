//! Copies between local places; no root is needed for them.

use std::fs;
use std::path::Path;

use loam_model::{CopyRequest, Digest, ImageCopies as _, ImageSource, RegistryOptions, Result};
use serde_json::{Value, json};

use super::ImageCopier;
use crate::fixture::Heard;
use crate::hashing::sha256;

fn put(layout: &Path, bytes: &[u8]) -> Value {
    let digest = sha256(bytes);
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("made");
    fs::write(blobs.join(digest.hex()), bytes).expect("written");
    json!({ "mediaType": "application/x.whatever", "digest": digest, "size": bytes.len() })
}

/// A layout with one artifact, of types that nobody knows.
fn layout(place: &Path, blob: &[u8]) -> Digest {
    let manifest = json!({ "schemaVersion": 2, "config": put(place, b"{}"), "layers": [put(place, blob)] });
    let mut entry = put(place, manifest.to_string().as_bytes());
    entry["mediaType"] = crate::document::OCI_MANIFEST.into();
    let digest = entry["digest"].as_str().expect("text").parse().expect("a digest");
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(place.join("index.json"), index.to_string()).expect("written");
    fs::write(place.join("oci-layout"), "{}").expect("written");
    digest
}

fn copy(from: &Path, to: ImageSource) -> Result<Digest> {
    let source = ImageSource::OciLayout { directory: from.to_owned(), tag: None };
    let request = CopyRequest {
        source: &source,
        destination: &to,
        all: false,
        platform: None,
        source_options: RegistryOptions::default(),
        destination_options: RegistryOptions::default(),
    };
    ImageCopier::new(crate::Unpacker::InProcess).copy(&request, &Heard::default()).map(|copied| copied.digest)
}

fn to_layout(directory: &Path, tag: &str) -> ImageSource {
    ImageSource::OciLayout { directory: directory.to_owned(), tag: Some(tag.to_owned()) }
}

#[test]
fn many_who_copy_into_one_layout_all_find_their_image_there() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let target = place.path().join("target");
    let sources: Vec<_> = (0..6_u8)
        .map(|number| {
            let source = place.path().join(number.to_string());
            let digest = layout(&source, &vec![number; 100_000]);
            (source, digest)
        })
        .collect();
    // The first makes it.
    copy(&sources[0].0, to_layout(&target, "0")).expect("copies");
    std::thread::scope(|scope| {
        for (number, (source, digest)) in sources.iter().enumerate() {
            let target = &target;
            scope.spawn(move || {
                let copied = copy(source, to_layout(target, &number.to_string())).expect("copies");
                assert_eq!(copied, *digest);
            });
        }
    });
    let index: Value =
        serde_json::from_slice(&fs::read(target.join("index.json")).expect("there")).expect("JSON");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(6));
    assert_eq!(fs::read_dir(target.join("blobs/sha256")).expect("blobs").count(), 13);
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 7, "nothing unfinished");
}

#[test]
fn a_blob_that_is_not_what_it_should_be_leaves_nothing() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let source = place.path().join("source");
    layout(&source, b"as it should be");
    let blob = source.join("blobs/sha256").join(sha256(b"as it should be").hex());
    for wrong in [&b"as it should bE"[..], b"as", b"as it should be and more"] {
        fs::write(&blob, wrong).expect("written");
        let file = place.path().join("file.tar");
        for to in [
            to_layout(&place.path().join("target"), "x"),
            ImageSource::OciArchive { file: file.clone(), tag: None },
        ] {
            let failure = copy(&source, to).expect_err("it is another");
            assert!(failure.chain().contains("can't be copied: "), "{}", failure.chain());
        }
        assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 1);
    }
    fs::remove_file(&blob).expect("removed");
    let failure = copy(&source, to_layout(&place.path().join("target"), "x")).expect_err("it is gone");
    assert!(failure.chain().contains("lacks the blob"), "{}", failure.chain());
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 1);
}
