//! Archives that are damaged at any byte, or end at any: an answer each time, and nothing that stays.

use std::fs;

use loam_model::{ImageConfig, ImageStore};

use super::layer_count;
use crate::LayerStore;
use crate::fixture::{Tar, is_root, leftovers, store};

/// An archive with one entry of each kind.
fn all_kinds() -> Tar {
    Tar::default()
        .directory("./", 0o755)
        .directory("d", 0o755)
        .file("d/f", b"data")
        .raw(b'L', b"././@LongLink", b"", b"d/long\0", |_| {})
        .symlink("cut", "f")
        .link("d/h", "d/f")
        .pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1,5,2")])
        .file("s", b"abc")
        .raw(b'3', b"c", b"", b"", |header| {
            let _gnu = header.set_device_minor(3);
        })
        .raw(b'6', b"p", b"", b"", |_| {})
        .file("d/.wh.w", b"")
}

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
fn every_header_byte_may_be_another_one() {
    if !is_root("every_header_byte_may_be_another_one") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = Tar::default()
        .pax(&[("mtime", b"1.5")])
        .file("f", b"data")
        .raw(b'L', b"././@LongLink", b"", b"long\0", |_| {})
        .symlink("cut", "f")
        .end();
    for position in 0..tar.len() - 1024 {
        let mut damaged = tar.clone();
        damaged[position] ^= 1 << (position % 8);
        let (layers, case) = (layer_count(&store), format!("byte {position} with another bit"));
        let answer = import(&store, &damaged);
        // What a checksum covers is never taken for what it was not.
        let record = position / 512 * 512;
        let is_header = tar[record + 257..].starts_with(b"ustar");
        let is_checksum = (148..156).contains(&(position - record));
        assert!(answer.is_err() || !is_header || is_checksum, "{case}");
        check(&store, &answer, layers, &case);
    }
    import(&store, &tar).expect("the archive as it was");
}

#[test]
fn every_header_byte_may_be_another_one_with_the_checksum_of_all() {
    if !is_root("every_header_byte_may_be_another_one_with_the_checksum_of_all") {
        return;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("canary"), "untouched").expect("a file");
    let tar = all_kinds().end();
    let headers = (0..tar.len()).step_by(512).filter(|record| tar[record + 257..].starts_with(b"ustar"));
    for record in headers {
        for position in 0..512 {
            for change in [0x01, 0xff] {
                let mut damaged = tar.clone();
                damaged[record + position] ^= change;
                let mut header = tar::Header::new_old();
                header.as_mut_bytes().copy_from_slice(&damaged[record..record + 512]);
                header.set_cksum();
                damaged[record..record + 512].copy_from_slice(header.as_bytes());
                let case = format!("byte {position} of the header at {record} changed by {change}");
                unpack_beside(place.path(), &damaged, &case);
            }
        }
    }
}

/// Unpacks into a directory beside others; a refusal is a sentence, and all of it can be deleted.
fn unpack_beside(place: &std::path::Path, tar: &[u8], case: &str) {
    use crate::blocks::Filler;
    use crate::unpack::{Budget, unpack};
    fs::create_dir(place.join("layer")).expect("a directory");
    let space = crate::space::Space { block: 4096, bytes: 1 << 30, inodes: None };
    let budget = Budget::new(move || Ok(space), None).expect("a budget");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut archive =
        crate::archive::Archive::new(Filler::new(tar, loam_model::DigestAlgorithm::Sha256, &stop));
    let into = crate::staging::open_directory(&place.join("layer")).expect("opens");
    if let Err(error) = unpack(&mut archive, into, &budget, &crate::unpack::mark_opaque) {
        let told = error.into_failure("it can't be unpacked".to_owned()).chain();
        assert!(!told.contains(char::is_control), "{case}: {told:?}");
    }
    crate::staging::delete(&place.join("layer")).expect(case);
    let names: Vec<_> = fs::read_dir(place).expect("a directory").collect();
    let text = fs::read_to_string(place.join("canary")).expect("a file");
    assert!(names.len() == 1 && text == "untouched", "{case}: {names:?}");
}

#[test]
fn an_archive_may_end_at_any_byte() {
    if !is_root("an_archive_may_end_at_any_byte") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = Tar::default().pax(&[("mtime", b"1.5")]).file("d/f", &[7; 600]).end();
    for length in 0..tar.len() {
        let layers = layer_count(&store);
        let answer = import(&store, &tar[..length]);
        let case = format!("{length} of {} bytes", tar.len());
        // Between two entries it may end, as one does that was written without its mark.
        let is_whole_records = length % 512 == 0;
        assert!(is_whole_records || answer.is_err(), "{case}");
        check(&store, &answer, layers, &case);
    }
    import(&store, &tar).expect("the whole archive");
}
