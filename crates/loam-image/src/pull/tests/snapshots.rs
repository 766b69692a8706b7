//! Snapshots of images that were pulled.

use std::fs;

use loam_model::{ContainerId, ErrorKind, ImageStore, SnapshotRequest};

use super::{layer, layer_count, pull};
use crate::fixture::{Liar, Tar, is_root, leftovers, store};

fn container(fill: u8) -> ContainerId {
    ContainerId::from_random([fill; 32])
}

#[test]
fn a_layer_takes_from_those_below_what_its_archive_leaves_out() {
    if !is_root("a_layer_takes_from_those_below_what_its_archive_leaves_out") {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let base = Tar::default()
        .raw(b'5', b"./", b"", b"", |h| h.set_mode(0o751))
        .raw(b'5', b"etc", b"", b"", |h| {
            h.set_mode(0o700);
            h.set_uid(12);
        })
        .raw(b'0', b"etc/original", b"", b"text", |h| h.set_gid(34))
        .end();
    let upper = Tar::default()
        .file("etc/new", b"x")
        .link("etc/copy", "etc/original")
        .link("etc/copy2", "etc/original")
        .end();
    let image = pull(&store, &Liar::honest(&[base, upper.clone()]), "x").expect("pulls");
    let id = container(1);
    store
        .create_snapshot(&SnapshotRequest { container: &id, image: &image.id, ephemeral: true, limit: None })
        .expect("snapshot");
    let plan = store.rootfs(&id, None).expect("a plan");
    let at = |name: &str| fs::symlink_metadata(plan.lower[0].join(name)).expect(name);
    assert_eq!((at("").mode() & 0o7777, at("").mtime()), (0o751, 1_000_000_000));
    assert_eq!((at("etc").mode() & 0o7777, at("etc").uid(), at("etc").mtime()), (0o700, 12, 1_000_000_000));
    assert_eq!(
        (at("etc/copy").gid(), at("etc/copy").nlink(), at("etc/copy").mtime()),
        (34, 2, 1_000_000_000)
    );
    assert_eq!(fs::read(plan.lower[0].join("etc/copy2")).expect("copied"), b"text");
    let upper_root = fs::metadata(plan.upper.expect("writable")).expect("there");
    assert_eq!((upper_root.mode() & 0o7777, upper_root.mtime()), (0o751, 1_000_000_000));

    let root = tempfile::tempdir().expect("a temporary directory");
    let failure =
        pull(&crate::fixture::store(root.path()), &Liar::honest(&[upper]), "x").expect_err("no target");
    assert!(
        failure.chain().contains("a hard link to `etc/original`, which is no file"),
        "{}",
        failure.chain()
    );
    assert_eq!(leftovers(root.path()), [""; 0]);
}

#[test]
fn snapshots_hold_their_image() {
    if !is_root("snapshots_hold_their_image") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = pull(&store, &Liar::honest(&[layer("a", b"x"), layer("b", b"y")]), "x").expect("pulls");
    let (one, two) = (container(1), container(2));
    let request = SnapshotRequest { container: &one, image: &image.id, ephemeral: false, limit: None };
    store.create_snapshot(&request).expect("makes");
    let plan = store.rootfs(&one, None).expect("a plan");
    fs::write(plan.upper.as_ref().expect("writable").join("written"), vec![1; 10_000]).expect("writes");
    store.create_snapshot(&request).expect("is there already");
    assert!(plan.upper.as_ref().expect("writable").join("written").exists());
    assert!(store.snapshot_usage(&one).expect("counts") >= 10_000);
    assert_eq!((plan.lower.len(), plan.volatile), (2, false));
    assert!(plan.lower[0].join("b").exists() && plan.lower[1].join("a").exists());
    store
        .create_snapshot(&SnapshotRequest { container: &two, image: &image.id, ephemeral: true, limit: None })
        .expect("makes");
    assert!(store.rootfs(&two, None).expect("a plan").volatile);
    assert_eq!(store.snapshots().expect("lists"), [one.clone(), two.clone()]);

    let conflict = store.remove("x", false).expect_err("in use");
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    assert_eq!(conflict.to_string(), "the image `x` is in use by container `010101010101`, `020202020202`");
    let removed = store.remove("x", true).expect("by force");
    assert_eq!((removed.untagged.len(), removed.deleted), (1, None));
    assert!(store.rootfs(&one, None).is_ok());
    for name in ["work/work/incompat/volatile", "work/work"] {
        fs::create_dir_all(root.path().join("snapshots").join(two.as_str()).join(name))
            .expect("as overlayfs does");
    }
    store.remove_snapshot(&two).expect("drops");
    store.remove_snapshot(&two).expect("is gone already");
    assert_eq!(layer_count(&store), 2);
    store.remove_snapshot(&one).expect("drops");
    assert_eq!((layer_count(&store), store.list().expect("lists").len()), (0, 0));
    assert_eq!(fs::read_dir(root.path().join("snapshots")).expect("there").count(), 0);
    assert_eq!(fs::read_dir(root.path().join("layers")).expect("there").count(), 0);
    assert_eq!(store.rootfs(&one, None).expect_err("gone").kind(), ErrorKind::NotFound);
}

#[test]
fn an_image_without_layers_and_one_with_a_layer_twice_can_be_mounted() {
    if !is_root("an_image_without_layers_and_one_with_a_layer_twice_can_be_mounted") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    for (fill, layers, count) in
        [(3, vec![], 1), (4, vec![layer("a", b""), layer("b", b""), layer("a", b"")], 2)]
    {
        let image = pull(&store, &Liar::honest(&layers), "x").expect("pulls");
        let id = container(fill);
        store
            .create_snapshot(&SnapshotRequest {
                container: &id,
                image: &image.id,
                ephemeral: true,
                limit: None,
            })
            .expect("makes");
        let plan = store.rootfs(&id, None).expect("a plan");
        assert_eq!(plan.lower.len(), count);
        assert!(plan.lower.iter().all(|lower| lower.is_dir()));
    }
    assert_eq!(store.list().expect("lists").iter().filter(|line| line.name.is_none()).count(), 1);
}
