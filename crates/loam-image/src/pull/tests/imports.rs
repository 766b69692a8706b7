//! Imports, and what a killed process leaves.

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;

use loam_model::{ImageStore, ImageUpkeep};

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

/// A tar on a pipe on which it comes slowly: at the beginning and in the middle somebody has the time to look around.
struct Slow<'a> {
    tar: &'a [u8],
    given: usize,
    at_start: &'a mut (dyn FnMut() + Send),
    in_the_middle: &'a mut (dyn FnMut() + Send),
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let half = self.tar.len() / 2;
        // A few bytes at first, as a slow writer's.
        let until = match self.given {
            given @ 0..3 => {
                (self.at_start)();
                given + 1
            }
            given if given < half => half,
            given if given == half => {
                (self.in_the_middle)();
                self.tar.len()
            }
            _ => self.tar.len(),
        };
        let count = (&self.tar[self.given..until]).read(buffer)?;
        self.given += count;
        Ok(count)
    }
}

#[test]
fn an_import_that_waits_for_its_tar_is_in_nobody_s_way() {
    if !is_root("an_import_that_waits_for_its_tar_is_in_nobody_s_way") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let waiting = store(root.path());
    let other = store(root.path());
    let config = loam_model::ImageConfig::default();
    let tar = layer("bin/x", &[7; 2_000_000]);
    let everything = || -> Vec<String> {
        let entries =
            fs::read_dir(root.path()).expect("there").map(|entry| entry.expect("entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.display().to_string()).collect();
        names.retain(|name| !name.starts_with("loam.db"));
        names
    };
    let (mut starts, mut middles) = (0, 0);
    let mut at_start = || {
        assert_eq!(everything(), [""; 0], "nothing is there yet");
        starts += 1;
    };
    let mut in_the_middle = || {
        // The very same image, and then everything that cleans up.
        let image = other.import(&mut &tar[..], "quick", &config).expect("the other goes first");
        other.sweep();
        other.remove("quick", false).expect("removed");
        assert_eq!(image.names, ["quick:latest"]);
        let all = loam_model::PruneRequest { named: true, ..Default::default() };
        other.prune(&all).expect("pruned");
        assert_eq!(layer_count(&other), 0);
        middles += 1;
    };
    let mut slow = Slow { tar: &tar, given: 0, at_start: &mut at_start, in_the_middle: &mut in_the_middle };
    let image = waiting.import(&mut slow, "slow", &config).expect("imports in the end");
    assert_eq!((starts, middles), (3, 1));
    assert_eq!((layer_count(&waiting), leftovers(root.path())), (1, vec![]));
    assert_eq!(waiting.resolve("slow").expect("there").id, image.id);
}
