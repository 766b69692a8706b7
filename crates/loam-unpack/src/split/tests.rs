//! Records of archives of every kind.

use std::fs;
use std::io::Read;
use std::sync::atomic::AtomicBool;

use loam_model::DigestAlgorithm;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{Reassembled, Recorder};
use crate::archive::Archive;
use crate::blocks::Filler;
use crate::fixture::{Tar, is_root};
use crate::open_directory;
use crate::space::Space;
use crate::unpack::{Budget, mark_opaque, unpack};

/// Unpacks a tar and puts it together again; `None` when there is no record.
fn there_and_back(tar: &[u8]) -> Option<Vec<u8>> {
    let place = tempfile::tempdir().expect("a directory");
    let (diff, split) = (place.path().join("diff"), place.path().join("split"));
    fs::create_dir(&diff).expect("a directory");
    let stop = AtomicBool::new(false);
    let mut archive = Archive::new(Filler::new(tar, DigestAlgorithm::Sha256, &stop));
    archive.keep_framing(Recorder::new(fs::File::create(&split).expect("a file")).expect("begins"));
    let space = Space { block: 4096, bytes: 1 << 30, inodes: None };
    let budget = Budget::new(move || Ok(space), None).expect("a budget");
    let unpacked =
        unpack(&mut archive, open_directory(&diff).expect("opens"), &budget, &mark_opaque).expect("unpacks");
    let recorded = archive.finish_framing().expect("written").expect("a recorder");
    if unpacked.lossy || !recorded {
        return None;
    }
    let record = fs::File::open(&split).expect("there");
    let mut whole = Vec::new();
    Reassembled::new(record, open_directory(&diff).expect("opens"))
        .and_then(|mut tar| tar.read_to_end(&mut whole))
        .expect("reads");
    Some(whole)
}

#[test]
fn every_byte_comes_back() {
    if !is_root("every_byte_comes_back") {
        return;
    }
    let long = "d/".repeat(80) + "file";
    let tar = Tar::default()
        .directory("./", 0o750)
        .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"v\0w"), ("comment", b"kept as it is")])
        .file("etc/small", b"text")
        .file("etc/large", &vec![9; 700_000])
        .link("etc/twin", "etc/small")
        .symlink("lib", "usr/lib")
        .file("usr/lib/x", b"behind")
        .file("etc/.wh.gone", b"data of a whiteout")
        .pax(&[("path", long.as_bytes())])
        .file("short", b"long")
        .file("empty", b"")
        .end();
    let padded = [tar.clone(), vec![0; 9000]].concat();
    assert!(there_and_back(&tar).expect("a record") == tar);
    assert!(there_and_back(&padded).expect("a record") == padded, "what follows the end");
    let unended = &tar[..tar.len() - 1024];
    assert!(there_and_back(unended).expect("a record") == unended, "no end");
}

#[test]
fn sparse_files_come_back() {
    if !is_root("sparse_files_come_back") {
        return;
    }
    let data = [vec![1; 512], vec![2; 100]].concat();
    let tar = Tar::default()
        .pax(&[
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.size", b"1000000"),
            ("GNU.sparse.map", b"4096,512,900000,100"),
        ])
        .file("sparse", &data)
        .file("after", b"x")
        .end();
    assert!(there_and_back(&tar).expect("a record") == tar);
}

#[test]
fn what_was_replaced_leaves_no_record() {
    if !is_root("what_was_replaced_leaves_no_record") {
        return;
    }
    let twice = Tar::default().file("a", b"1").file("a", b"2").end();
    assert_eq!(there_and_back(&twice), None);
    let into_directory = Tar::default().file("a", b"1").directory("a", 0o755).end();
    assert_eq!(there_and_back(&into_directory), None);
    let same_directory = Tar::default().directory("a", 0o700).directory("a", 0o755).file("a/b", b"").end();
    assert!(there_and_back(&same_directory).expect("a record") == same_directory);
}

#[test]
fn what_a_replaced_link_led_to_leaves_no_record() {
    if !is_root("what_a_replaced_link_led_to_leaves_no_record") {
        return;
    }
    let behind = Tar::default().directory("a", 0o755).symlink("l", "a").file("l/f", b"first");
    let other = behind.clone().directory("b", 0o755).file("b/f", b"other").symlink("l", "b").end();
    assert_eq!(there_and_back(&other), None, "`l/f` is another file by now");
    assert_eq!(there_and_back(&behind.clone().directory("l", 0o755).end()), None);
    let chain = Tar::default().directory("a", 0o755).symlink("m", "a").symlink("l", "m").file("l/f", b"1");
    assert_eq!(there_and_back(&chain.directory("m", 0o755).file("l/f", b"2").end()), None);
    let unused = Tar::default().symlink("l", "a").symlink("l", "b").file("f", b"x").end();
    assert!(there_and_back(&unused).expect("a record") == unused, "nothing was made behind it");
    // An empty file is one, too: what takes its place is no file's data.
    let empty = Tar::default().file("a", b"").symlink("a", "nowhere").end();
    assert_eq!(there_and_back(&empty), None);
}

#[test]
fn what_is_no_file_is_not_opened() {
    if !is_root("what_is_no_file_is_not_opened") {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let split = place.path().join("split");
    let mut recorder = Recorder::new(fs::File::create(&split).expect("a file")).expect("begins");
    recorder.file(b"data", &[]);
    assert!(recorder.finish().expect("written"));
    let data = place.path().join("data");
    for kind in [FileType::Fifo, FileType::CharacterDevice, FileType::Directory] {
        match kind {
            FileType::Directory => fs::create_dir(&data).expect("a directory"),
            // A device without a driver: to open it is an error of its own.
            _ => mknodat(CWD, &data, kind, Mode::RWXU, makedev(241, 9)).expect("a node"),
        }
        let record = fs::File::open(&split).expect("there");
        let mut tar = Reassembled::new(record, open_directory(place.path()).expect("opens")).expect("begins");
        let told = tar.read_to_end(&mut Vec::new()).expect_err("no file").to_string();
        assert!(told.contains("`data`") && told.ends_with("it is no file any more"), "{told}");
        crate::delete::tree(CWD, &data).expect("deleted");
    }
}

#[test]
fn damage_is_an_error_that_names_it() {
    if !is_root("damage_is_an_error_that_names_it") {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let split = place.path().join("split");
    let mut recorder = Recorder::new(fs::File::create(&split).expect("a file")).expect("begins");
    recorder.file(b"data", &[crate::archive::Segment { offset: 0, length: 10 }]);
    assert!(recorder.finish().expect("written"));
    let read = || {
        let record = fs::File::open(&split)?;
        let mut tar = Reassembled::new(record, open_directory(place.path())?)?;
        tar.read_to_end(&mut Vec::new()).map_err(|error| std::io::Error::other(error.to_string()))
    };
    assert!(read().expect_err("missing").to_string().contains("`data`"));
    fs::write(place.path().join("data"), b"short").expect("written");
    assert!(read().expect_err("short").to_string().contains("shorter than it was"));
    let record = fs::read(&split).expect("there");
    fs::write(&split, &record[..record.len() - 6]).expect("cut");
    fs::write(place.path().join("data"), b"0123456789").expect("written");
    assert!(read().is_err(), "cut short");
    fs::write(&split, zstd::encode_all(&b"something else entirely"[..], 1).expect("to memory"))
        .expect("written");
    assert!(read().expect_err("no record").to_string().contains("begins with something else"));
}
