//! Trees of layers, compared and copied; they need root, as layers do.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

use loam_model::{
    ContainerId, CopiedOwners, FileChange, IdMapping, Image, ImageConfig, ImageSource, ImageStore as _,
    ImageTrees as _, PullOptions, SnapshotRequest, TreeOf,
};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::LayerStore;
use crate::fixture::{Heard, Liar, Tar, is_root, store};
use crate::staging::open_directory;

fn pull(store: &LayerStore, layers: &[Vec<u8>]) -> Image {
    let source = ImageSource::Registry("x".to_owned());
    store
        .pull_from(&Liar::honest(layers), &source, &PullOptions::default(), &Heard::default())
        .expect("pulls")
}

fn lines(changes: &[FileChange]) -> Vec<String> {
    let line =
        |change: &FileChange| format!("{} {}", change.kind.letter(), String::from_utf8_lossy(&change.path));
    changes.iter().map(line).collect()
}

fn base() -> Vec<u8> {
    Tar::default()
        .directory("d", 0o755)
        .file("d/changed", b"one")
        .file("d/gone", b"")
        .file("d/kept", b"kept")
        .link("d/kept-too", "d/kept")
        .directory("e/below", 0o700)
        .file("e/below/file", b"")
        .file("e/x", b"")
        .directory("untouched", 0o755)
        .file("untouched/file", b"")
        .file("kind", b"")
        .symlink("link", "d/kept")
        .end()
}

fn top() -> Vec<u8> {
    Tar::default()
        .file("d/changed", b"two")
        .file("d/.wh.gone", b"")
        .file("d/new", b"")
        .file("e/.wh..wh..opq", b"")
        .file("e/y", b"")
        .directory("kind", 0o755)
        .file("kind/child", b"")
        .symlink("link", "d/changed")
        .end()
}

#[test]
fn an_image_is_told_from_the_one_it_stands_on_and_from_others() {
    if !is_root("an_image_is_told_from_the_one_it_stands_on_and_from_others") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let (below, whole) = (pull(&store, &[base()]), pull(&store, &[base(), top()]));
    let changes =
        |one: TreeOf<'_>, other: TreeOf<'_>| lines(&store.changes(one, other, &[]).expect("compares"));
    let expected = [
        "C /d",
        "C /d/changed",
        "D /d/gone",
        "A /d/new",
        "C /e",
        "D /e/below",
        "D /e/x",
        "A /e/y",
        "C /kind",
        "A /kind/child",
        "C /link",
    ];
    let (one, other) = (TreeOf::Image(&below.id), TreeOf::Image(&whole.id));
    assert_eq!(changes(TreeOf::BelowTopOf(&whole.id), other), expected);
    assert_eq!(changes(one, other), expected);
    // The same files from other layers are the same files.
    let flat = Tar::default().file("d/kept", b"kept").file("own", b"").end();
    let apart = pull(&store, &[flat]);
    let gone: Vec<String> = changes(TreeOf::Image(&apart.id), one)
        .into_iter()
        .filter(|line| line.contains("kept") || line.starts_with('D'))
        .collect();
    assert_eq!(gone, ["A /d/kept-too", "D /own"]);
    assert_eq!(changes(other, other), [""; 0]);
    assert_eq!(changes(TreeOf::BelowTopOf(&below.id), one).len(), 13);
    let passed = store.changes(one, other, &[Path::new("/d"), Path::new("/kind")]).expect("compares");
    assert_eq!(lines(&passed), ["C /e", "D /e/below", "D /e/x", "A /e/y", "C /link"]);
}

#[test]
fn what_a_container_wrote_is_told_from_its_image() {
    if !is_root("what_a_container_wrote_is_told_from_its_image") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = pull(&store, &[base(), top()]);
    let container = ContainerId::from_random([7; 32]);
    let request = SnapshotRequest { container: &container, image: &image.id, ephemeral: true, limit: None };
    store.create_snapshot(&request).expect("a snapshot");
    let changes = || {
        let (image, container) = (TreeOf::Image(&image.id), TreeOf::Container(&container));
        store.changes(image, container, &[]).map(|changes| lines(&changes))
    };
    assert_eq!(changes().expect("compares"), [""; 0]);
    let upper = store.rootfs(&container, None).expect("a plan").upper.expect("writable");
    fs::create_dir(upper.join("d")).expect("made");
    let whiteout = upper.join("d/kept");
    rustix::fs::mknodat(CWD, &whiteout, FileType::CharacterDevice, Mode::empty(), 0).expect("made");
    fs::write(upper.join("d/own"), "x").expect("written");
    assert_eq!(changes().expect("compares"), ["C /d", "D /d/kept", "A /d/own"]);
    fs::write(upper.with_file_name("shifted"), "").expect("written");
    let refusal = changes().expect_err("the owners are others");
    assert!(refusal.chain().contains("can't be told"), "{}", refusal.chain());
}

#[test]
fn a_copy_is_like_its_original() {
    if !is_root("a_copy_is_like_its_original") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let owned = Tar::default()
        .raw(b'0', b"owned", b"", b"", |header| {
            header.set_uid(7);
            header.set_gid(8);
            header.set_mode(0o4711);
        })
        .raw(b'6', b"fifo", b"", b"", |header| header.set_mode(0o640))
        .end();
    let image = pull(&store, &[base(), top(), owned]);
    let layer = |name: &str| {
        let found = fs::read_dir(root.path().join("layers")).expect("layers");
        let mut paths = found.map(|entry| entry.expect("entry").path().join("diff").join(name));
        paths.find(|path| path.exists()).expect(name)
    };
    // What tars seldom bring: an attribute, and a hole.
    rustix::fs::setxattr(layer("owned"), "user.mark", b"here", XattrFlags::empty()).expect("set");
    let sparse = fs::File::create(layer("owned").with_file_name("sparse")).expect("made");
    sparse.write_all_at(b"end", 8 << 20).expect("written");

    let copy = |name: &str, owners: &CopiedOwners| {
        let place = root.path().join(name);
        fs::create_dir(&place).expect("made");
        let directory = open_directory(&place).expect("opens");
        store.copy_files(&image.id, directory.as_fd(), owners).map(|()| place)
    };
    let place = copy("copy", &CopiedOwners::default()).expect("copies");
    let at = |name: &str| fs::symlink_metadata(place.join(name)).expect(name);
    assert_eq!(fs::read(place.join("d/changed")).expect("read"), b"two");
    assert!(!place.join("d/gone").exists() && !place.join("e/x").exists() && place.join("e/y").exists());
    assert_eq!((at("d/kept").ino(), at("d/kept").nlink()), (at("d/kept-too").ino(), 2));
    assert_eq!(fs::read_link(place.join("link")).expect("a link"), Path::new("d/changed"));
    assert_eq!((at("owned").uid(), at("owned").gid(), at("owned").mode() & 0o7777), (7, 8, 0o4711));
    assert_eq!(at("fifo").mode() & 0o7777, 0o640);
    assert_eq!((at("d").mtime(), at("owned").mtime()), (1_000_000_000, 1_000_000_000));
    assert_eq!(at("sparse").len(), (8 << 20) + 3);
    assert!(at("sparse").blocks() * 512 < 1 << 20);
    let mut value = [0; 9];
    let length = rustix::fs::getxattr(place.join("owned"), "user.mark", &mut value[..]).expect("kept");
    assert_eq!(&value[..length], b"here");

    let shifted = |size| {
        let ids = Some(IdMapping::contiguous(1000, size));
        CopiedOwners { users: ids.clone(), groups: ids }
    };
    let place = copy("shifted", &shifted(100)).expect("copies");
    let owned = fs::metadata(place.join("owned")).expect("there");
    assert_eq!((owned.uid(), owned.gid()), (1007, 1008));
    let failure = copy("too-few", &shifted(5)).expect_err("no id");
    assert!(failure.chain().contains("`/owned` belongs to the user 7"), "{}", failure.chain());
}

#[test]
fn a_directory_is_taken_in_whole_or_not_at_all() {
    if !is_root("a_directory_is_taken_in_whole_or_not_at_all") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let from = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(from.path().join("bin")).expect("made");
    fs::write(from.path().join("bin/tool"), vec![5; 100_000]).expect("written");
    fs::hard_link(from.path().join("bin/tool"), from.path().join("bin/other")).expect("linked");
    symlink("/bin/tool", from.path().join("tool")).expect("linked");
    let config = ImageConfig { command: vec!["/bin/tool".to_owned()], ..ImageConfig::default() };
    let image = store.import_directory(from.path(), "taken:1", &config).expect("imports");
    assert_eq!((image.names.as_slice(), image.layers.len()), (&["taken:1".to_owned()][..], 1));
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = open_directory(place.path()).expect("opens");
    store.copy_files(&image.id, directory.as_fd(), &CopiedOwners::default()).expect("copies");
    assert_eq!(fs::read(place.path().join("bin/other")).expect("read"), vec![5; 100_000]);
    // What comes late is noticed, too.
    fs::create_dir(from.path().join("z")).expect("made");
    fs::write(from.path().join("z/.wh.name"), "").expect("written");
    let failure = store.import_directory(from.path(), "other:1", &config).expect_err("can't be said");
    assert!(failure.chain().contains("`z/.wh.name` can't be in an image"), "{}", failure.chain());
    assert!(store.resolve("other:1").is_err());
    assert!(store.import_directory(&from.path().join("bin/tool"), "other:1", &config).is_err());
}
