//! Pulls of what is there already.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loam_model::{
    ImageSource, ImageStore as _, ImageUpkeep as _, LayerProgress, LayoutExtensions, PruneRequest,
    PullOptions, Verification,
};
use loam_state::{Database, Durability};

use super::{layer, pull};
use crate::fixture::{Heard, Liar, config, is_root, leftovers, store};
use crate::pull::describe::Wanted;
use crate::source::Source as _;
use crate::{LayerStore, SCHEMA, StoreConfig};

const EVERYTHING: PruneRequest = PruneRequest { named: true, unused_for: None, threshold: None };

fn wanted(store: &LayerStore, liar: &Liar, name: &str) -> Wanted {
    let source = ImageSource::Registry(name.to_owned());
    store.describe(liar, &source, &PullOptions::default()).expect("it is an image")
}

/// Writes the image as a layout with one image.
fn write_layout(liar: &Liar, directory: &Path) {
    let manifest = liar.top().expect("a manifest");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
        { "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len() },
    ]});
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("made");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    fs::write(directory.join("index.json"), index.to_string()).expect("written");
    fs::write(blobs.join(manifest.digest.hex()), &manifest.bytes).expect("written");
    for (digest, bytes) in &liar.blobs {
        fs::write(blobs.join(digest.hex()), bytes).expect("written");
    }
}

#[test]
fn an_image_that_is_there_as_it_shall_be_is_only_leased() {
    if !is_root("an_image_that_is_there_as_it_shall_be_is_only_leased") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let liar = Liar::honest(&[layer("a", b"x")]);
    let (source, heard) = (ImageSource::Registry("plum".to_owned()), Heard::default());
    let options = PullOptions { nameless: true, ..PullOptions::default() };
    let first = store(root.path());
    let image = first.pull_from(&liar, &source, &options, &heard).expect("pulls");
    let fetched = liar.fetched.load(Ordering::Relaxed);
    // Garbage, which whatever fetches or records something sweeps up.
    let garbage = root.path().join("staging/garbage");
    fs::create_dir(&garbage).expect("made");

    let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
    let lease = Duration::from_secs(600);
    let second = LayerStore::open(StoreConfig { lease, ..config(root.path()) }, database);
    let heard = Heard::default();
    let again = second.pull_from(&liar, &source, &options, &heard).expect("pulls");
    assert_eq!((again, liar.fetched.load(Ordering::Relaxed)), (image, fetched));
    assert!(garbage.exists(), "it takes the short way");
    let heard = heard.0.into_inner().expect("no panic");
    assert!(matches!(heard[..], [(_, LayerProgress::Present)]), "{heard:?}");
    let other = Liar::honest(&[layer("b", b"y")]);
    second.pull_from(&other, &source, &options, &Heard::default()).expect("pulls");
    assert!(!garbage.exists(), "what fetches something sweeps");
    assert!(first.prune(&EVERYTHING).expect("prunes").layers.is_empty(), "both are leased");
    drop(second);
    assert_eq!(first.prune(&EVERYTHING).expect("prunes").layers.len(), 2);
}

#[test]
fn an_image_of_which_something_is_otherwise_is_recorded_anew() {
    if !is_root("an_image_of_which_something_is_otherwise_is_recorded_anew") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let liar = Liar::honest(&[layer("a", b"x")]);
    let store = store(root.path());
    let known = |wanted: &Wanted| store.lease_if_there(wanted, &Heard::default()).expect("looks").is_some();
    assert!(!known(&wanted(&store, &liar, "plum")), "nothing is there");
    let image = pull(&store, &liar, "plum").expect("pulls");
    let mut plum = wanted(&store, &liar, "plum");
    assert!(known(&plum));
    assert!(!known(&wanted(&store, &liar, "pear")), "the name is new");
    plum.described.manifest.media_type.push('x');
    assert!(!known(&plum), "the manifest is of another type");

    let plum = wanted(&store, &liar, "plum");
    let condemn = |condemned: bool| {
        store.database.write(Durability::Unsynced, |transaction| {
            transaction.execute("UPDATE image SET condemned = ?1", [condemned])
        })
    };
    condemn(true).expect("written");
    assert!(!known(&plum), "it goes with its last container");
    condemn(false).expect("written");
    assert!(known(&plum));

    let manifest = store.places.blob(&image.manifest);
    fs::remove_file(&manifest).expect("removed");
    assert!(!known(&plum), "a document is missing");
    assert_eq!(pull(&store, &liar, "plum").expect("pulls").id, image.id);
    assert!(manifest.exists() && known(&plum));
}

#[test]
fn a_layout_whose_layers_may_lie_elsewhere_is_pulled_whether_it_is_there_or_not() {
    if !is_root("a_layout_whose_layers_may_lie_elsewhere_is_pulled_whether_it_is_there_or_not") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let layout = tempfile::tempdir().expect("a temporary directory");
    let liar = Liar::honest(&[layer("a", b"x")]);
    write_layout(&liar, layout.path());
    let store = store(root.path());
    let source = ImageSource::OciLayout { directory: layout.path().to_owned(), tag: None };
    let extensions = Some(LayoutExtensions { certificates: None });
    let options = PullOptions { nameless: true, extensions, ..PullOptions::default() };
    let mut ids = Vec::new();
    for verification in [Verification::Full, Verification::SkipLayers] {
        for _ in 0..2 {
            let options = PullOptions { verification, ..options.clone() };
            ids.push(store.pull(&source, &options, &Heard::default()).expect("pulls").id);
        }
    }
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[1] != ids[2], "{ids:?}");
    // What fails on the way ends all the same.
    let missing = liar.blobs.keys().find(|digest| **digest != ids[0]).expect("a layer").hex().to_owned();
    fs::remove_file(layout.path().join("blobs/sha256").join(missing)).expect("removed");
    store.prune(&EVERYTHING).expect("prunes");
    assert!(store.pull(&source, &options, &Heard::default()).is_err());
    assert_eq!(leftovers(root.path()), [""; 0]);
}
