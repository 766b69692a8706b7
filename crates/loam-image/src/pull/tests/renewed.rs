//! Pulls of what is there already.

use std::fs;
use std::time::Duration;

use loam_model::{ImageSource, ImageUpkeep as _, PruneRequest, PullOptions};
use loam_state::{Database, Durability};

use super::{layer, pull};
use crate::fixture::{Liar, config, is_root, store};
use crate::pull::Described;
use crate::{LayerStore, SCHEMA, StoreConfig};

fn described(store: &LayerStore, liar: &Liar, name: &str) -> Described {
    let source = ImageSource::Registry(name.to_owned());
    store.describe(liar, &source, &PullOptions::default()).expect("it is an image").described
}

#[test]
fn an_image_that_is_there_as_it_shall_be_is_only_leased() {
    if !is_root("an_image_that_is_there_as_it_shall_be_is_only_leased") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let liar = Liar::honest(&[layer("a", b"x")]);
    let first = store(root.path());
    let plum = described(&first, &liar, "plum");
    assert_eq!(first.renew(&plum).expect("looks"), None, "nothing is there");
    let image = pull(&first, &liar, "plum").expect("pulls");
    drop(first);

    let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
    let lease = Duration::from_secs(600);
    let second = LayerStore::open(StoreConfig { lease, ..config(root.path()) }, database);
    assert_eq!(second.renew(&plum).expect("looks"), Some(image));
    let everything = PruneRequest { named: true, unused_for: None, threshold: None };
    assert!(store(root.path()).prune(&everything).expect("prunes").untagged.is_empty(), "it is leased");
    drop(second);
    let pruned = store(root.path()).prune(&everything).expect("prunes");
    assert_eq!(pruned.untagged, ["docker.io/library/plum:latest"]);
}

#[test]
fn an_image_of_which_something_is_otherwise_is_recorded_anew() {
    if !is_root("an_image_of_which_something_is_otherwise_is_recorded_anew") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let liar = Liar::honest(&[layer("a", b"x")]);
    let store = store(root.path());
    let image = pull(&store, &liar, "plum").expect("pulls");
    let mut plum = described(&store, &liar, "plum");
    let known = |described: &Described| store.renew(described).expect("looks").is_some();
    assert!(known(&plum));
    assert!(!known(&described(&store, &liar, "pear")), "the name is new");
    plum.manifest.media_type.push('x');
    assert!(!known(&plum), "the manifest is of another type");

    let plum = described(&store, &liar, "plum");
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
