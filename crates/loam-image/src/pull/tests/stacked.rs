//! Layers on one another, as a container sees them.

use std::process::Command;

use loam_model::{ContainerId, ImageStore, SnapshotRequest};

use super::pull;
use crate::fixture::{Liar, Tar, is_root, store};

/// Mounts the layers of an image in a namespace of its own, and lists them: type, mode and name of everything.
fn seen(layers: &[Vec<u8>]) -> Vec<String> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = pull(&store, &Liar::honest(layers), "x").expect("pulls");
    let container = ContainerId::from_random([1; 32]);
    let request = SnapshotRequest { container: &container, image: &image.id, ephemeral: true, limit: None };
    store.create_snapshot(&request).expect("a snapshot");
    let plan = store.rootfs(&container, None).expect("a plan");
    let lower: Vec<String> = plan.lower.iter().map(|path| path.display().to_string()).collect();
    let mount = root.path().join("mount");
    std::fs::create_dir(&mount).expect("a directory");
    // With an empty one on top, as a single lower layer can't be mounted alone.
    let line = format!(
        "mkdir {0}.empty && mount -t overlay overlay -o lowerdir={0}.empty:{1} {0} && cd {0} && find . -mindepth 1 -printf '%y %m %P\\n' | sort -k3",
        mount.display(),
        lower.join(":")
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &line]).output().expect("unshare runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_file_becomes_a_directory_and_a_file_again() {
    if !is_root("a_file_becomes_a_directory_and_a_file_again") {
        return;
    }
    let file = Tar::default().directory("./", 0o755).file("a", b"first").file("b", b"").end();
    let directory = Tar::default().directory("./", 0o755).directory("a", 0o755).file("a/x", b"").end();
    let again = Tar::default().directory("./", 0o755).file("a", b"last").end();
    let link = Tar::default().directory("./", 0o755).symlink("a", "b").end();
    let stack =
        |count: usize| [&file, &directory, &again, &directory, &link].map(Clone::clone)[..count].to_vec();
    assert_eq!(seen(&stack(1)), ["f 644 a", "f 644 b"]);
    assert_eq!(seen(&stack(2)), ["d 755 a", "f 644 a/x", "f 644 b"]);
    assert_eq!(seen(&stack(3)), ["f 644 a", "f 644 b"]);
    assert_eq!(seen(&stack(4)), ["d 755 a", "f 644 a/x", "f 644 b"]);
    assert_eq!(seen(&stack(5)), ["l 777 a", "f 644 b"]);
}

#[test]
fn a_directory_that_takes_the_place_of_something_hides_what_is_below_that() {
    if !is_root("a_directory_that_takes_the_place_of_something_hides_what_is_below_that") {
        return;
    }
    let base = Tar::default().directory("./", 0o755).directory("a", 0o755).file("a/old", b"").end();
    // Within one layer: whatever lower layers have under the name was hidden before the directory came.
    for first in [
        Tar::default().file("a", b""),
        Tar::default().symlink("a", "b"),
        Tar::default().file(".wh.a", b""),
        Tar::default().raw(b'6', b"a", b"", b"", |_| {}),
    ] {
        let upper = first.directory("a", 0o700).file("a/new", b"").end();
        assert_eq!(seen(&[base.clone(), upper]), ["d 700 a", "f 644 a/new"]);
    }
    let kept = Tar::default().directory("a", 0o700).file("a/new", b"").end();
    assert_eq!(seen(&[base, kept]), ["d 700 a", "f 644 a/new", "f 644 a/old"]);
}

#[test]
fn whiteouts_behind_a_link_hide_what_is_there_and_change_nothing_else() {
    if !is_root("whiteouts_behind_a_link_hide_what_is_there_and_change_nothing_else") {
        return;
    }
    let base = Tar::default().directory("./", 0o755).directory("a", 0o750).file("a/old", b"").end();
    let upper = Tar::default()
        .directory("a", 0o710)
        .directory("a/d", 0o700)
        .symlink("z", "a")
        .file("z/.wh..wh..opq", b"")
        .file("z/.wh.d", b"")
        .file("z/new", b"")
        .end();
    assert_eq!(seen(&[base, upper]), ["d 710 a", "d 700 a/d", "f 644 a/new", "l 777 z"]);
}

#[test]
fn directories_that_were_made_behind_a_link_are_whole_when_the_link_is_gone() {
    if !is_root("directories_that_were_made_behind_a_link_are_whole_when_the_link_is_gone") {
        return;
    }
    let made = Tar::default()
        .directory("a", 0o755)
        .symlink("z", "a")
        .directory("z/listed", 0o711)
        .file("z/listed/f", b"x");
    for (after, last) in [
        (made.clone().file("z", b""), "f 644 z"),
        (made.clone().directory("z", 0o701), "d 701 z"),
        (made.symlink("z", "/nowhere"), "l 777 z"),
    ] {
        let expected = ["d 755 a", "d 711 a/listed", "f 644 a/listed/f", last];
        assert_eq!(seen(&[after.end()]), expected);
    }
}

#[test]
fn a_link_to_a_lower_layer_s_file_goes_with_the_directory_that_it_was_in() {
    if !is_root("a_link_to_a_lower_layer_s_file_goes_with_the_directory_that_it_was_in") {
        return;
    }
    let base = Tar::default().directory("./", 0o755).file("original", b"x").end();
    let linked = Tar::default().directory("d", 0o755).link("d/copy", "original");
    assert_eq!(seen(&[base.clone(), linked.clone().end()]), ["d 755 d", "f 644 d/copy", "f 644 original"]);
    assert_eq!(seen(&[base, linked.file("d", b"").end()]), ["f 644 d", "f 644 original"]);
}
