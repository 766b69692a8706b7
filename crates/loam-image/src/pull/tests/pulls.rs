//! Pulls that succeed, alone and beside others.

use std::fs;

use loam_model::{Digest, ErrorKind, ImageSource, ImageStore, PullOptions, PullProgress};

use super::{gzip, layer, layer_count, pull};
use crate::fixture::{Heard, Liar, Tar, is_root, leftovers, store};
use crate::hashing::sha256;
use crate::source::Source;
use crate::{LayerStore, catalog};

#[test]
fn an_image_is_pulled_named_resolved_and_removed() {
    if !is_root("an_image_is_pulled_named_resolved_and_removed") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tars = [layer("a", b"one"), layer("b", b"two"), layer("a", b"one")];
    let zstd = zstd::encode_all(&tars[1][..], 3).expect("to memory");
    let blobs =
        [(gzip(&tars[0]), sha256(&tars[0])), (zstd, sha256(&tars[1])), (tars[2].clone(), sha256(&tars[2]))];
    let liar = Liar::with(&blobs);
    let image = pull(&store, &liar, "fruit/plum").expect("pulls");
    assert_eq!(image.names, ["docker.io/fruit/plum:latest"]);
    assert_eq!((image.layers.len(), image.size), (3, 6), "a layer that is there twice counts once");
    assert_eq!(image.config.command, ["true"]);
    assert_eq!(sha256(&store.raw_config(&image.id).expect("there")), image.id);
    for word in ["fruit/plum", "docker.io/fruit/plum:latest", image.id.short(), &image.id.to_string()] {
        assert_eq!(store.resolve(word).expect(word).id, image.id);
    }
    assert_eq!(
        store.resolve("fruit/pear").expect_err("missing").to_string(),
        "there is no image `fruit/pear`"
    );
    assert_eq!(store.resolve(&image.id.hex()[..3]).expect_err("too short").kind(), ErrorKind::NotFound);
    store.tag(&image.id, "mine").expect("tags");
    let lines: Vec<Option<String>> = store.list().expect("lists").into_iter().map(|line| line.name).collect();
    assert_eq!(lines, [Some("docker.io/fruit/plum:latest".to_owned()), Some("mine:latest".to_owned())]);
    assert_eq!(leftovers(root.path()), [""; 0]);

    let fetched = liar.fetched.load(std::sync::atomic::Ordering::Relaxed);
    pull(&store, &liar, "fruit/plum").expect("pulls again");
    assert_eq!(liar.fetched.load(std::sync::atomic::Ordering::Relaxed), fetched, "nothing is fetched twice");

    let untagged = store.remove("mine", false).expect("untags");
    assert_eq!((untagged.untagged.as_slice(), untagged.deleted), (&["mine:latest".to_owned()][..], None));
    let removed = store.remove(image.id.short(), false).expect("removes");
    assert_eq!((removed.deleted, removed.layers.len()), (Some(image.id), 2));
    assert_eq!((layer_count(&store), store.list().expect("lists").len()), (0, 0));
    for place in ["layers", "blobs/sha256", "staging", "trash", "layer-locks"] {
        assert_eq!(fs::read_dir(root.path().join(place)).expect("there").count(), 0, "{place}");
    }
}

#[test]
fn many_pulls_at_once_fetch_a_layer_once() {
    if !is_root("many_pulls_at_once_fetch_a_layer_once") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let layers: Vec<Vec<u8>> = (0..5).map(|i| layer(&format!("f{i}"), &vec![i; 300_000])).collect();
    let liar = Liar::honest(&layers);
    let backwards = Liar::honest(&layers.iter().rev().cloned().collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for pulled in [&liar, &backwards, &liar, &backwards] {
            // A store and a database of its own each, as processes have.
            let root = root.path();
            scope.spawn(move || pull(&store(root), pulled, "x").expect("pulls"));
        }
    });
    let fetched = [&liar, &backwards].map(|l| l.fetched.load(std::sync::atomic::Ordering::Relaxed));
    // Besides the layers, each pull may fetch its configuration.
    assert!(fetched.iter().sum::<usize>() <= 5 + 4, "{fetched:?}");
    assert_eq!((layer_count(&store(root.path())), leftovers(root.path())), (5, vec![]));
}

#[test]
fn a_removal_during_a_pull_makes_it_go_round_again() {
    if !is_root("a_removal_during_a_pull_makes_it_go_round_again") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let (base, upper) = (layer("a", b"x"), layer("b", b"y"));
    pull(&store, &Liar::honest(std::slice::from_ref(&base)), "base").expect("pulls");
    let liar = Liar::honest(&[base, upper]);
    // The base is there when the pull looks, and is removed before it commits.
    struct Meddler<'a>(&'a LayerStore, std::sync::Once);
    impl PullProgress for Meddler<'_> {
        fn layer(&self, _: &Digest, progress: loam_model::LayerProgress) {
            if matches!(progress, loam_model::LayerProgress::Started { .. }) {
                self.1.call_once(|| drop(self.0.remove("base", false).expect("removes")));
            }
        }
        fn note(&self, _: &str) {}
    }
    let meddler = Meddler(&store, std::sync::Once::new());
    let source = ImageSource::Registry("whole".to_owned());
    let image = store.pull_from(&liar, &source, &PullOptions::default(), &meddler).expect("pulls");
    assert_eq!((image.layers.len(), layer_count(&store)), (2, 2));
    for diff_id in &image.layers {
        let row = store.database.read(|c| catalog::layer(c, diff_id)).expect("reads").expect("recorded");
        assert!(store.places.diff(&row.directory).is_dir());
    }
}

#[test]
fn a_built_in_image_is_installed_once() {
    if !is_root("a_built_in_image_is_installed_once") {
        return;
    }
    let liar = Liar::honest(&[layer("hello", b"#!")]);
    let manifest = liar.top().expect("a manifest");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
        { "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len() },
    ]});
    let mut tar = Tar::default()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string().as_bytes())
        .file(&format!("blobs/sha256/{}", manifest.digest.hex()), &manifest.bytes);
    for (digest, bytes) in &liar.blobs {
        tar = tar.file(&format!("./blobs/sha256/{}", digest.hex()), bytes);
    }
    let tar = tar.end();
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = store.install_built_in(&tar, "hello").expect("installs");
    assert_eq!(image.names, ["hello:latest"]);
    assert_eq!(store.resolve("hello").expect("there").id, image.id);
    assert_eq!(store.install_built_in(&tar, "hello").expect("is there"), image);
    let options = PullOptions { only_if_missing: true, ..PullOptions::default() };
    let nowhere = ImageSource::OciLayout { directory: "/nonexistent".into(), tag: None };
    let options = PullOptions { name: Some("hello".to_owned()), ..options };
    assert_eq!(store.pull(&nowhere, &options, &Heard::default()).expect("is there"), image);
}
