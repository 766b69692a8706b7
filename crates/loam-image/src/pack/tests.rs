//! From an archive to a directory and back.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use loam_model::DigestAlgorithm;
use loam_unpack::{Budget, Compression, Destination, Means, Space, Unpacker, unpack_layer};

use super::*;
use crate::fixture::{Tar, is_root};
use crate::staging::open_directory;

fn unpacked(tar: &[u8]) -> (tempfile::TempDir, OwnedFd) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = |path: &Path| open_directory(path).expect("opens");
    let plenty = Space { block: 4096, bytes: 1 << 50, inodes: None };
    let budget = Budget::new(move || Ok(plenty), None).expect("a budget");
    let means = Means {
        budget: &budget,
        stop: &AtomicBool::new(false),
        algorithm: DigestAlgorithm::Sha256,
        own_thread: false,
        unpacker: &Unpacker::InProcess,
    };
    let split = tempfile::tempfile().expect("a file");
    let destination = Destination { files: open(directory.path()), split };
    unpack_layer(&mut { tar }, Compression::None, destination, means, "x").expect("unpacks");
    let root = open(directory.path());
    (directory, root)
}

fn packed(tar: &[u8]) -> Vec<u8> {
    let (_directory, root) = unpacked(tar);
    pack(&root, Vec::new()).expect("packs")
}

/// A line for each entry: kind, path, link, and what was asked of it.
fn entries(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let extensions = entry.pax_extensions().expect("well formed").map(|records| {
            let shown = records.map(|record| {
                let record = record.expect("well formed");
                format!(" {}={}", record.key().expect("text"), String::from_utf8_lossy(record.value_bytes()))
            });
            shown
                .filter(|text| !text.starts_with(" path=") && !text.starts_with(" linkpath="))
                .collect::<String>()
        });
        let link = entry.link_name_bytes().map(|link| format!(" -> {}", String::from_utf8_lossy(&link)));
        let header = entry.header();
        format!(
            "{} {} {:o} {}{}{}",
            char::from(header.entry_type().as_byte()),
            String::from_utf8_lossy(&entry.path_bytes()),
            header.mode().expect("a mode"),
            header.mtime().expect("a time"),
            link.unwrap_or_default(),
            extensions.unwrap_or_default()
        )
    });
    entries.collect()
}

#[test]
fn everything_that_a_layer_can_have_comes_back() {
    if !is_root("everything_that_a_layer_can_have_comes_back") {
        return;
    }
    let long = "l".repeat(120);
    let tar = Tar::default()
        .directory("./", 0o711)
        .file("b", b"later")
        .file("a", b"text")
        .link("z", "a")
        .symlink("s", "../odd//./target/")
        .pax(&[("linkpath", long.as_bytes())])
        .symlink("far", "cut")
        .directory("d/", 0o1777)
        .file("d/.wh..wh..opq", b"")
        .file("d/x", b"")
        .file(".wh.gone", b"")
        .pax(&[("path", format!("d/{long}").as_bytes())])
        .file("cut", b"long")
        .pax(&[("mtime", b"-2.5"), ("SCHILY.xattr.user.k", b"v=\0w")])
        .file("early", b"")
        .raw(b'4', b"block", b"", b"", |header| {
            header.set_device_major(8).expect("fits");
            header.set_device_minor(1).expect("fits");
        })
        .raw(b'6', b"pipe", b"", b"", |header| header.set_mode(0o4600))
        .end();
    let once = packed(&tar);
    let expected = [
        "5 ./ 711 1000000000".to_owned(),
        "0 a 644 1000000000".to_owned(),
        "0 b 644 1000000000".to_owned(),
        "4 block 644 1000000000".to_owned(),
        "0 early 644 0 mtime=-2.5 SCHILY.xattr.user.k=v=\0w".to_owned(),
        format!("2 far 777 1000000000 -> {long}"),
        "0 .wh.gone 0 0".to_owned(),
        "6 pipe 4600 1000000000".to_owned(),
        "2 s 777 1000000000 -> ../odd//./target/".to_owned(),
        "1 z 644 1000000000 -> a".to_owned(),
        "5 d/ 1777 1000000000".to_owned(),
        "0 d/.wh..wh..opq 0 0".to_owned(),
        format!("0 d/{long} 644 1000000000"),
        "0 d/x 644 1000000000".to_owned(),
    ];
    assert_eq!(entries(&once), expected);
    assert!(packed(&once) == once, "what was packed here comes out as it went in");
}

#[test]
fn what_overlayfs_keeps_for_itself_stays_out() {
    if !is_root("what_overlayfs_keeps_for_itself_stays_out") {
        return;
    }
    let (directory, root) = unpacked(&Tar::default().directory("d", 0o755).file("d/f", b"x").end());
    let flags = rustix::fs::XattrFlags::empty();
    for path in ["d", "d/f"] {
        let path = directory.path().join(path);
        rustix::fs::setxattr(&path, "trusted.overlay.origin", b"o", flags).expect("set");
        rustix::fs::setxattr(&path, "trusted.mine", b"m", flags).expect("set");
    }
    let told = entries(&pack(&root, Vec::new()).expect("packs")).join("\n");
    assert!(!told.contains("trusted"), "{told}");
}

#[test]
fn many_directories_in_one_another_are_packed_with_few_open_files() {
    let mut tar = Tar::default();
    let mut path = String::new();
    for _ in 0..1500 {
        path.push_str("d/");
        tar = tar.pax(&[("path", path.as_bytes())]).directory("cut", 0o755);
    }
    let packed = packed(&tar.end());
    assert_eq!(entries(&packed).len(), 1501);
}
