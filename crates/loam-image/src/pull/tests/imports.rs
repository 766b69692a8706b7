//! Imports, and what a killed process leaves.

use std::fs;
use std::sync::Arc;

use loam_model::ImageStore;

use super::{gzip, layer, layer_count, pull};
use crate::fixture::{Liar, is_root, leftovers, store};

#[test]
fn a_tar_is_imported_twice_and_stored_once() {
    if !is_root("a_tar_is_imported_twice_and_stored_once") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = gzip(&layer("bin/x", b"#!"));
    let config = loam_model::ImageConfig { command: vec!["/bin/x".to_owned()], ..Default::default() };
    let image = store.import(&mut &tar[..], "mine:1", &config).expect("imports");
    assert_eq!((image.names.as_slice(), &image.config), (&["mine:1".to_owned()][..], &config));
    let again =
        store.import(&mut &tar[..], "localhost/other", &loam_model::ImageConfig::default()).expect("imports");
    assert_ne!(image.id, again.id);
    assert_eq!((layer_count(&store), leftovers(root.path())), (1, vec![]));
    let failure = store.import(&mut &tar[..20], "cut", &config).expect_err("cut short");
    assert!(failure.chain().starts_with("the root file system can't be unpacked: "), "{}", failure.chain());
    assert_eq!(leftovers(root.path()), [""; 0]);
}

#[test]
fn what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not() {
    if !is_root("what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = Arc::new(store(root.path()));
    let image = pull(&store, &Liar::honest(&[layer("a", b"x")]), "x").expect("pulls");
    let held = crate::staging::StagedLayer::new(&store.places).expect("stages");
    let mut published = crate::staging::StagedLayer::new(&store.places).expect("stages");
    published.publish().expect("publishes");
    for garbage in ["staging/dead/diff/x", "layers/dead2/diff", "trash/old/deep"] {
        fs::create_dir_all(root.path().join(garbage)).expect("garbage");
    }
    let container = |fill: u8| loam_model::ContainerId::from_random([fill; 32]);
    let (kept, lost) = (container(1), container(0xee));
    let request =
        loam_model::SnapshotRequest { container: &kept, image: &image.id, ephemeral: true, limit: None };
    store.create_snapshot(&request).expect("makes");
    fs::create_dir_all(root.path().join("snapshots").join(lost.as_str()).join("upper/deep"))
        .expect("garbage");
    store.sweep();
    assert!(store.rootfs(&kept, None).expect("a plan").upper.expect("writable").is_dir());
    assert!(!root.path().join("snapshots").join(lost.as_str()).exists());
    let exists = |path: String| root.path().join(path).exists();
    assert!(exists(format!("staging/{}", held.id())) && exists(format!("layers/{}", published.id())));
    assert!(!exists("staging/dead".into()) && !exists("layers/dead2".into()) && !exists("trash/old".into()));
    drop((held, published));
    assert_eq!(leftovers(root.path()), [""; 0]);
    assert_eq!(fs::read_dir(root.path().join("layers")).expect("there").count(), 1);
    assert!(store.resolve(image.id.short()).is_ok());
}
