//! Limits on an image, holds, and layers that are kept apart.

use std::sync::atomic::Ordering;

use loam_model::{
    CheckedLayer, ContainerId, Digest, DiskLimit, ErrorKind, Image, ImageSource, ImageStore, ImageUpkeep,
    LayerState, LimitScope, PullOptions, Reason, Result, SnapshotRequest, Verification,
};

use super::gzip;
use crate::LayerStore;
use crate::fixture::{Heard, Liar, Tar, is_root, leftovers, store};
use crate::hashing::sha256;

fn pull(store: &LayerStore, liar: &Liar, options: &PullOptions) -> Result<Image> {
    let source = ImageSource::Registry("h.example/a:1".to_owned());
    store.pull_from(liar, &source, options, &Heard::default())
}

#[test]
fn limits_are_kept_before_and_while_layers_come() {
    if !is_root("limits_are_kept_before_and_while_layers_come") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let tars = [Tar::default().file("a", &[1; 50_000]).end(), Tar::default().file("b", &[2; 50_000]).end()];
    let liar = Liar::honest(&tars);
    let within = |limit| PullOptions { limit: Some(limit), nameless: true, ..PullOptions::default() };
    let failure = pull(&store, &liar, &within(60_000)).expect_err("the blobs are larger");
    let bytes = tars.iter().map(Vec::len).sum::<usize>() as u64;
    assert_eq!(failure.reason(), Some(Reason::BlobsExceedLimit { bytes, limit: 60_000 }));
    assert_eq!(liar.fetched.load(Ordering::Relaxed), 1, "the configuration alone");
    // Compressed, nobody knows beforehand.
    let small = gzip(&tars[0]);
    let liar = Liar::with(&[(small, sha256(&tars[0]))]);
    let failure = pull(&store, &liar, &within(20_000)).expect_err("it unpacks to more");
    assert_eq!(failure.reason(), Some(Reason::UnpackedExceedsLimit), "{}", failure.chain());
    assert!(leftovers(root.path()).is_empty());
    let image = pull(&store, &liar, &within(70_000)).expect("it fits");
    let container = ContainerId::from_random([9; 32]);
    let limit = |bytes| DiskLimit { bytes, scope: LimitScope::Inclusive, can_change_projects: false };
    let request = |bytes| SnapshotRequest {
        container: &container,
        image: &image.id,
        ephemeral: true,
        limit: Some(limit(bytes)),
    };
    let failure = store.create_snapshot(&request(49_999)).expect_err("less than the layers");
    assert_eq!(failure.reason(), Some(Reason::LayersExceedLimit { bytes: 50_000, limit: 49_999 }));
    assert!(store.snapshots().expect("read").is_empty(), "nothing half made");
    store.create_snapshot(&request(8_050_000)).expect("there is room");
    let usage = store.snapshot(&container).expect("measured");
    assert_eq!((usage.layer_bytes, usage.limit), (50_000, Some(8_000_000)));
    assert_eq!(store.recorded_usage().expect("read").committed_bytes(), 8_050_000);
    let changed = store.change_limit(&container, &limit(9_050_000));
    match usage.written {
        // The mechanism of the file system that tests run on decides.
        _ if changed.is_ok() => {
            assert_eq!(store.snapshot(&container).expect("measured").limit, Some(9_000_000));
        }
        _ => assert_eq!(changed.expect_err("a disk file").kind(), ErrorKind::Unsupported),
    }
    store.remove_snapshot(&container).expect("removed");
    assert_eq!(store.change_limit(&container, &limit(1)).expect_err("gone").kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_not_verified_is_kept_apart_and_counted_anew() {
    if !is_root("what_is_not_verified_is_kept_apart_and_counted_anew") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let (truth, lie) = (Tar::default().file("a", b"true").end(), Tar::default().file("a", b"a lie").end());
    let claims = |blob: &[u8]| Liar::with(&[(blob.to_vec(), sha256(&truth))]);
    let trusting =
        PullOptions { verification: Verification::SkipLayers, nameless: true, ..PullOptions::default() };
    let trusted = pull(&store, &claims(&lie), &trusting).expect("taken on trust");
    let verified = pull(&store, &claims(&truth), &PullOptions::default()).expect("verified");
    assert!(trusted.id != verified.id && trusted.layers != verified.layers);
    assert_eq!(verified.layers, [sha256(&truth)]);
    let again = pull(&store, &claims(&lie), &trusting).expect("the same");
    assert_eq!((again.id, again.layers), (trusted.id, trusted.layers.clone()));
    // It can't be held against a digest, and says so.
    let mut states = Vec::new();
    let heard = &mut |layer: &CheckedLayer| {
        states.push((layer.diff_id.clone(), layer.state.clone()));
        Ok(())
    };
    store.check(heard).expect("checked");
    let state = |id: &Digest| states.iter().find(|(known, _)| known == id).map(|(_, state)| state.clone());
    assert_eq!(state(&trusted.layers[0]), Some(LayerState::Unverifiable));
    assert_eq!(state(&verified.layers[0]), Some(LayerState::Whole));
    assert_eq!(store.recount().expect("counted"), 0);
    let wrong =
        |transaction: &rusqlite::Transaction<'_>| transaction.execute("UPDATE layer SET size = 1", []);
    store.database.write(loam_state::Durability::Unsynced, wrong).expect("written");
    assert_eq!(store.recount().expect("counted"), 2);
    assert_eq!(store.recorded_usage().expect("read").layer_bytes, 9);
}
