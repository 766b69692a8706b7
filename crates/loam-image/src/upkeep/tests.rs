//! Stores of a few small images.

use std::fs;
use std::path::Path;
use std::time::Duration;

use loam_model::{
    ContainerId, Image, ImageConfig, ImageStore, ImageUpkeep, LayerState, PruneRequest, SnapshotRequest,
    StoreShare, StoreUsage,
};
use loam_state::{Database, Durability};

use crate::fixture::{Tar, config, is_root, leftovers, store};
use crate::{LayerStore, SCHEMA, StoreConfig};

const ALL: PruneRequest = PruneRequest { named: true, unused_for: None, threshold: None };

/// An image of one layer with a file of so many bytes; images of the same size share it.
fn import(store: &LayerStore, name: &str, size: usize) -> Image {
    let config = ImageConfig { command: vec![name.to_owned()], ..ImageConfig::default() };
    let tar = Tar::default().file("file", &vec![7; size]).end();
    store.import(&mut &tar[..], name, &config).expect("imports")
}

fn stand_on(store: &LayerStore, image: &Image, fill: u8) -> ContainerId {
    let container = ContainerId::from_random([fill; 32]);
    let request = SnapshotRequest { container: &container, image: &image.id, ephemeral: true, limit: None };
    store.create_snapshot(&request).expect("a snapshot");
    container
}

/// Makes an image look as if it was last used so many seconds ago.
fn age(store: &LayerStore, image: &Image, seconds: i64) {
    let then = crate::record::now() - seconds;
    let id = image.id.to_string();
    store
        .database
        .write(Durability::Unsynced, |transaction| {
            transaction
                .execute("UPDATE image SET added = ?2, used = 0 WHERE id = ?1", rusqlite::params![id, then])
        })
        .expect("written");
}

fn layers_on_disk(root: &Path) -> usize {
    fs::read_dir(root.join("layers")).map_or(0, Iterator::count)
}

#[test]
fn figures_count_what_is_shared_once() {
    if !is_root("figures_count_what_is_shared_once") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let (one, two, other) =
        (import(&store, "one", 5000), import(&store, "two", 5000), import(&store, "x", 300));
    let container = stand_on(&store, &one, 1);
    let upper = store.rootfs(&container, None).expect("a plan").upper.expect("writable");
    fs::write(upper.join("written"), vec![1; 9000]).expect("written");

    let usage = store.usage().expect("figures");
    assert_eq!((usage.images, usage.images_in_use, usage.layers, usage.snapshots), (3, 1, 2, 1));
    assert_eq!((usage.layer_bytes, usage.reclaimable_bytes), (5300, 300));
    assert!(usage.snapshot_bytes >= 9000, "{usage:?}");
    assert_eq!((usage.limit_bytes, usage.committed_bytes()), (0, 5300));
    assert!(usage.capacity_bytes > usage.available_bytes && usage.available_bytes > 0, "{usage:?}");

    let layers = store.layers(&two.id).expect("layers");
    assert_eq!((layers.len(), layers[0].size, layers[0].images), (1, 5000, 2));
    assert_eq!(store.layers(&other.id).expect("layers")[0].images, 1);
    assert!(store.layers(&other.manifest).is_err(), "no such image");
    assert_eq!(
        crate::fixture::store(tempfile::tempdir().expect("d").path()).layers(&one.id).unwrap_err().kind(),
        loam_model::ErrorKind::NotFound
    );
}

#[test]
fn what_has_a_name_a_pin_or_a_container_stays() {
    if !is_root("what_has_a_name_a_pin_or_a_container_stays") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let (old, new) = (import(&store, "moved", 100), import(&store, "used", 200));
    let (pinned, named) = (import(&store, "pinned", 300), import(&store, "named", 400));
    // The name goes on to another image.
    store.tag(&named.id, "moved").expect("tagged");
    let container = stand_on(&store, &new, 2);
    store.pin(&pinned.id, true).expect("pinned");

    let pruned = store.prune(&PruneRequest::default()).expect("pruned");
    assert_eq!((pruned.deleted, pruned.bytes, pruned.untagged), (vec![old.id.clone()], 100, vec![]));
    let pruned = store.prune(&ALL).expect("pruned");
    assert_eq!((pruned.deleted, pruned.bytes), (vec![named.id], 400));
    assert_eq!(pruned.untagged, ["moved:latest", "named:latest"]);
    assert!(store.resolve("used").is_ok() && store.resolve("pinned").is_ok());
    assert_eq!((layers_on_disk(root.path()), leftovers(root.path())), (2, vec![]));

    store.pin(&pinned.id, false).expect("unpinned");
    store.remove_snapshot(&container).expect("removed");
    assert_eq!(store.prune(&ALL).expect("pruned").deleted.len(), 2);
    assert_eq!(store.usage().expect("figures").layer_bytes, 0);
    assert_eq!(layers_on_disk(root.path()), 0);
    assert_eq!(store.pin(&old.id, true).unwrap_err().kind(), loam_model::ErrorKind::NotFound);
}

#[test]
fn the_least_recently_used_go_first_until_the_threshold_is_kept() {
    if !is_root("the_least_recently_used_go_first_until_the_threshold_is_kept") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let images = [1000, 2000, 3000].map(|size| import(&store, &format!("i{size}"), size));
    for (image, days) in images.iter().zip([1, 3, 2]) {
        age(&store, image, days * 86_400);
    }
    let prune = |request: PruneRequest| store.prune(&request).expect("pruned").deleted;
    assert_eq!(
        prune(PruneRequest { threshold: Some(StoreShare::Bytes(6000)), ..ALL }),
        [],
        "nothing is above it"
    );
    assert_eq!(
        prune(PruneRequest { threshold: Some(StoreShare::Bytes(5999)), ..ALL }),
        [images[1].id.clone()]
    );
    assert_eq!(prune(PruneRequest { unused_for: Some(Duration::from_secs(5 * 86_400)), ..ALL }), []);
    // A container makes an image young again.
    let container = stand_on(&store, &images[2], 3);
    store.remove_snapshot(&container).expect("removed");
    assert_eq!(
        prune(PruneRequest { unused_for: Some(Duration::from_secs(3600)), ..ALL }),
        [images[0].id.clone()]
    );
    // How much the disk has free is for others to change at any time.
    let figures = store.usage().expect("figures");
    assert_eq!(
        StoreUsage { capacity_bytes: 0, available_bytes: 0, ..figures },
        StoreUsage {
            images: 1,
            layers: 1,
            layer_bytes: 3000,
            reclaimable_bytes: 3000,
            ..StoreUsage::default()
        }
    );
}

#[test]
fn what_a_running_process_has_pulled_stays() {
    if !is_root("what_a_running_process_has_pulled_stays") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let lasting = || {
        let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
        let config = StoreConfig { lease: Duration::from_secs(60), ..config(root.path()) };
        LayerStore::open(config, database)
    };
    let (pulling, pruning) = (lasting(), lasting());
    let image = import(&pulling, "mine", 100);
    import(&pruning, "other", 200);
    assert_eq!(pruning.prune(&ALL).expect("pruned").deleted, [], "its own and the other's");
    assert_eq!(fs::read_dir(root.path().join("leases")).expect("leases").count(), 2);
    drop(pulling);
    assert_eq!(pruning.prune(&ALL).expect("pruned").deleted, [image.id]);
    // As after `kill -9`: a row and a file that nobody has locked.
    let killed = lasting();
    let image = import(&killed, "mine", 100);
    let name =
        fs::read_dir(root.path().join("leases")).expect("leases").map(|entry| entry.expect("entry").path());
    let copies: Vec<_> = name.collect();
    drop(killed);
    for path in copies.iter().filter(|path| !path.exists()) {
        fs::write(path, "").expect("left");
    }
    assert_eq!(pruning.prune(&ALL).expect("pruned").deleted, [image.id]);
    assert_eq!(fs::read_dir(root.path().join("leases")).expect("leases").count(), 1);
    // A lease that was used up protects nothing, although its process lives.
    let short = store(root.path());
    let image = import(&short, "short", 50);
    assert_eq!(pruning.prune(&ALL).expect("pruned").deleted, [image.id]);
}

#[test]
fn a_store_that_is_told_to_prunes_after_a_pull() {
    if !is_root("a_store_that_is_told_to_prunes_after_a_pull") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let with = |threshold: Option<StoreShare>, lease: u64| {
        let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
        let lease = Duration::from_secs(lease);
        LayerStore::open(StoreConfig { prune_threshold: threshold, lease, ..config(root.path()) }, database)
    };
    let plain = with(None, 0);
    let old = [1000, 2000].map(|size| import(&plain, &format!("i{size}"), size));
    age(&plain, &old[1], 500);
    age(&plain, &old[0], 100);
    let third = import(&with(Some(StoreShare::Bytes(4000)), 60), "third", 3000);
    let left = || {
        let mut ids: Vec<_> = plain.list().expect("listed").into_iter().map(|image| image.id).collect();
        ids.sort();
        ids
    };
    let mut expected = [old[0].id.clone(), third.id.clone()];
    expected.sort();
    assert_eq!(left(), expected, "the least recently used went, and no more than needed");
    let fourth = import(&with(Some(StoreShare::Percent(0)), 60), "fourth", 10);
    assert_eq!(left(), [fourth.id], "what was just pulled stays whatever the threshold");
}

#[test]
fn damage_is_found_and_named() {
    if !is_root("damage_is_found_and_named") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let (good, bad, gone) =
        (import(&store, "good", 100), import(&store, "bad", 200), import(&store, "gone", 300));
    let twice = Tar::default().file("a", b"1").file("a", b"2").end();
    let lossy = store.import(&mut &twice[..], "lossy", &ImageConfig::default()).expect("imports");
    let check = || {
        let mut found = Vec::new();
        let mut keep = |layer: &loam_model::CheckedLayer| {
            found.push(layer.clone());
            Ok(())
        };
        store.check(&mut keep).expect("checked");
        found
    };
    let states = |images: [&Image; 4]| {
        let found = check();
        assert_eq!(found.len(), 4);
        images.map(|image| {
            let layer = found.iter().find(|layer| layer.images == [image.id.clone()]).expect("checked");
            match &layer.state {
                LayerState::Whole => "whole".to_owned(),
                LayerState::Unverifiable => "unverifiable".to_owned(),
                LayerState::Damaged { cause } => cause.clone(),
            }
        })
    };
    assert_eq!(states([&good, &bad, &gone, &lossy]), ["whole", "whole", "whole", "unverifiable"]);

    let file = |size: u64| {
        let layers = fs::read_dir(root.path().join("layers")).expect("layers");
        let paths = layers.map(|layer| layer.expect("a layer").path().join("diff/file"));
        paths
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|file| file.len() == size))
            .expect("a file")
    };
    fs::write(file(200), vec![8; 200]).expect("damaged");
    fs::remove_file(file(300)).expect("removed");
    let [whole, changed, missing, _] = states([&good, &bad, &gone, &lossy]);
    assert_eq!(whole, "whole");
    assert!(changed.starts_with("its files have the digest `sha256:"), "{changed}");
    assert!(missing.starts_with("the layer's file `file` can't be read: "), "{missing}");
}

#[test]
fn a_walk_is_remembered_for_a_while_and_each_snapshot_is_told_how_it_was_counted() {
    if !is_root("a_walk_is_remembered_for_a_while_and_each_snapshot_is_told_how_it_was_counted") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = import(&store, "i", 100);
    let container = stand_on(&store, &image, 1);
    // As on a file system that counts nothing, whatever this one does.
    let execute = |sql: &str| {
        let executed = store.database.write(Durability::Unsynced, |t| t.execute_batch(sql));
        executed.expect("written");
    };
    execute("UPDATE snapshot SET mechanism = NULL, project = NULL");
    let upper = root.path().join("snapshots").join(container.as_str()).join("upper");
    fs::write(upper.join("file"), vec![7; 200_000]).expect("written");
    let figures = || {
        let usage = store.usage().expect("figures");
        assert_eq!(usage.walked_snapshots, 1);
        assert_eq!(usage.snapshot_bytes, store.snapshot_usage(&container).expect("counted"));
        assert_eq!(store.snapshot(&container).expect("measured").written, Some(usage.snapshot_bytes));
        assert_eq!(store.disk_usage(&container).expect("asked"), None);
        usage.snapshot_bytes
    };
    assert!((200_000..300_000).contains(&figures()), "{}", figures());
    let remember = |began: &str, took: i64| {
        execute(&format!(
            "REPLACE INTO walked_snapshot SELECT container, 12345, {began}, {took} FROM snapshot"
        ));
    };
    remember("unixepoch() * 1000", 60_000);
    assert_eq!(figures(), 12345, "a walk of a minute is good for twenty");
    remember("(unixepoch() - 3600) * 1000", 60_000);
    assert!(figures() >= 200_000, "not for an hour");
    remember("(unixepoch() + 3600) * 1000", 60_000);
    assert!(figures() >= 200_000, "nor before it was taken");
    store.remove_snapshot(&container).expect("removed");
    let left: i64 = store
        .database
        .read(|connection| connection.query_row("SELECT count(*) FROM walked_snapshot", [], |row| row.get(0)))
        .expect("read");
    assert_eq!(left, 0, "it goes with the snapshot");
}
