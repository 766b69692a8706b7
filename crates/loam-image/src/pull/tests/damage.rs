//! Archives that are damaged: an answer each time, and nothing that stays in the store.

use loam_model::{ImageConfig, ImageStore};

use super::layer_count;
use crate::LayerStore;
use crate::fixture::{Tar, is_root, leftovers, store};

fn import(store: &LayerStore, tar: &[u8]) -> Result<(), String> {
    let imported = store.import(&mut &tar[..], "x", &ImageConfig::default());
    imported.map(drop).map_err(|failure| failure.chain())
}

/// What the store has after an answer: no more than before when it was a refusal, and nothing half made.
fn check(store: &LayerStore, answer: &Result<(), String>, layers: i64, case: &str) {
    let root = &store.places.root;
    assert_eq!(leftovers(root), [""; 0], "{case}: {answer:?}");
    match answer {
        Ok(()) => assert!(layer_count(store) <= layers + 1, "{case}"),
        Err(told) => {
            assert!(told.starts_with("the root file system can't be unpacked: "), "{case}: {told}");
            assert!(!told.contains(char::is_control), "{case}: {told:?}");
            assert_eq!(layer_count(store), layers, "{case}: {told}");
        }
    }
}

#[test]
fn a_damaged_archive_leaves_nothing_in_the_store() {
    if !is_root("a_damaged_archive_leaves_nothing_in_the_store") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = Tar::default().pax(&[("mtime", b"1.5")]).file("d/f", &[7; 600]).symlink("l", "d").end();
    // A step that meets every place of a record sooner or later.
    for position in (0..tar.len()).step_by(19) {
        let mut changed = tar.clone();
        changed[position] ^= 0x10;
        for (damaged, what) in [(&changed[..], "changed"), (&tar[..position], "the end")] {
            let layers = layer_count(&store);
            let answer = import(&store, damaged);
            check(&store, &answer, layers, &format!("byte {position} of {}: {what}", tar.len()));
        }
    }
    import(&store, &tar).expect("the archive as it was");
}
