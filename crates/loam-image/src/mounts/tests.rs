//! Counting, and what a mount protects. Nothing is mounted but a directory on itself.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use loam_model::{
    ErrorKind, Failure, Image, ImageConfig, ImageMounts as _, ImageStore as _, ImageUpkeep as _,
    PruneRequest, Result, RootfsPlan, Unmounted,
};
use rustix::mount::UnmountFlags;

use crate::LayerStore;
use crate::fixture::{Tar, is_root, store};

fn bind(_: &RootfsPlan, path: &Path) -> Result<()> {
    rustix::mount::mount_bind(path, path).expect("mounts");
    Ok(())
}

fn unbind(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::empty()).expect("unmounts");
    Ok(())
}

fn import(store: &LayerStore) -> Image {
    let tar = Tar::default().file("file", b"x").end();
    store.import(&mut &tar[..], "x", &ImageConfig::default()).expect("imports")
}

const ALL: PruneRequest = PruneRequest { named: true, unused_for: None, threshold: None };

#[test]
fn mounts_are_counted_and_keep_their_image() {
    if !is_root("mounts_are_counted_and_keep_their_image") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = import(&store);
    let asked = Cell::new(0);
    let mut mount = |plan: &RootfsPlan, path: &Path| {
        asked.set(asked.get() + 1);
        assert!(plan.upper.is_none() && plan.lower.len() == 1, "{plan:?}");
        bind(plan, path)
    };
    let path = store.mount(&image.id, &mut mount).expect("mounts");
    assert_eq!(store.mount(&image.id, &mut mount).expect("counts"), path);
    assert_eq!(asked.get(), 1);
    let mounted = store.mounted().expect("lists");
    assert_eq!((mounted.len(), mounted[0].count, &mounted[0].path), (1, 2, &path));
    assert_eq!(store.remove("x", false).expect_err("mounted").kind(), ErrorKind::Conflict);
    assert!(store.prune(&ALL).expect("prunes").deleted.is_empty());
    assert_eq!(store.unmount(&image.id, false, &mut unbind).expect("counts"), Unmounted::Held(1));
    // Its name goes, the image stays as long as it is mounted.
    assert_eq!(store.remove("x", true).expect("forced").deleted, None);
    assert!(store.resolve(&image.id.to_string()).is_ok());
    assert_eq!(store.unmount(&image.id, false, &mut unbind).expect("unmounts"), Unmounted::Gone);
    assert!(!path.exists() && store.resolve(&image.id.to_string()).is_err());
    let failure = store.unmount(&image.id, false, &mut unbind).expect_err("not mounted");
    assert_eq!(failure.kind(), ErrorKind::NotFound);
}

#[test]
fn a_mount_that_is_gone_or_never_came_about_is_forgotten() {
    if !is_root("a_mount_that_is_gone_or_never_came_about_is_forgotten") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = import(&store);
    let fail = &mut |_: &RootfsPlan, _: &Path| Err(Failure::new(ErrorKind::Internal, "no"));
    assert_eq!(store.mount(&image.id, fail).expect_err("fails").to_string(), "no");
    assert!(store.mounted().expect("lists").is_empty());
    // Somebody's umount, or a reboot, which also takes nothing of the directory.
    let path = store.mount(&image.id, &mut bind).expect("mounts");
    store.mount(&image.id, &mut bind).expect("counts");
    unbind(&path).expect("unmounts");
    assert!(path.exists() && store.mounted().expect("lists").is_empty() && !path.exists());
    // The count begins anew; a force takes all back.
    store.mount(&image.id, &mut bind).expect("mounts");
    store.mount(&image.id, &mut bind).expect("counts");
    assert_eq!(store.unmount(&image.id, true, &mut unbind).expect("unmounts"), Unmounted::Gone);
    assert_eq!(fs::read_dir(root.path().join("mounts")).expect("there").count(), 0);
    assert!(store.remove("x", false).expect("removes").deleted.is_some());
    let other = "sha256:".to_owned() + &"0".repeat(64);
    let failure = store.mount(&other.parse().expect("a digest"), &mut bind).expect_err("no image");
    assert_eq!(failure.kind(), ErrorKind::NotFound);
}
