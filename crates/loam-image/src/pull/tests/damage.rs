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

/// Where the headers of an archive are.
fn headers(tar: &[u8]) -> impl Iterator<Item = usize> {
    (0..tar.len()).step_by(512).filter(|record| tar[record + 257..].starts_with(b"ustar"))
}

#[test]
fn every_header_byte_may_be_another_one() {
    if !is_root("every_header_byte_may_be_another_one") {
        return;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("canary"), "untouched").expect("a file");
    let tar = all_kinds().end();
    for record in headers(&tar) {
        for position in 0..512 {
            let mut damaged = tar.clone();
            damaged[record + position] ^= 1 << (position % 8);
            let case = format!("byte {position} of the header at {record}");
            let is_refused = !unpack_beside(place.path(), &damaged, &case);
            // What a checksum covers is never taken for what it was not.
            assert!(is_refused || (148..156).contains(&position), "{case}");
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&damaged[record..record + 512]);
            header.set_cksum();
            damaged[record..record + 512].copy_from_slice(header.as_bytes());
            unpack_beside(place.path(), &damaged, &format!("{case}, with the checksum of all"));
        }
    }
    assert!(unpack_beside(place.path(), &tar, "as it was"));
}

/// Unpacks into a directory beside others; a refusal, which is false, is a sentence, and all of it can be deleted.
fn unpack_beside(place: &std::path::Path, tar: &[u8], case: &str) -> bool {
    use crate::blocks::Filler;
    use crate::unpack::{Budget, unpack};
    fs::create_dir(place.join("layer")).expect("a directory");
    let space = crate::space::Space { block: 4096, bytes: 1 << 30, inodes: None };
    let budget = Budget::new(move || Ok(space), None).expect("a budget");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut archive =
        crate::archive::Archive::new(Filler::new(tar, loam_model::DigestAlgorithm::Sha256, &stop));
    let into = crate::staging::open_directory(&place.join("layer")).expect("opens");
    let unpacked = unpack(&mut archive, into, &budget, &crate::unpack::mark_opaque).map(drop);
    let is_taken = unpacked.is_ok();
    if let Err(error) = unpacked {
        let told = error.into_failure("it can't be unpacked".to_owned()).chain();
        assert!(!told.contains(char::is_control), "{case}: {told:?}");
    }
    crate::staging::delete(&place.join("layer")).expect(case);
    let names: Vec<_> = fs::read_dir(place).expect("a directory").collect();
    let text = fs::read_to_string(place.join("canary")).expect("a file");
    assert!(names.len() == 1 && text == "untouched", "{case}: {names:?}");
    is_taken
}

#[test]
fn an_archive_may_end_at_any_byte() {
    if !is_root("an_archive_may_end_at_any_byte") {
        return;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("canary"), "untouched").expect("a file");
    let tar = all_kinds().end();
    for length in 0..tar.len() {
        let case = format!("{length} of {} bytes", tar.len());
        let is_taken = unpack_beside(place.path(), &tar[..length], &case);
        // Between two entries it may end, as one does that was written without its mark.
        assert!(!is_taken || length % 512 == 0, "{case}");
    }
}

#[test]
fn a_damaged_archive_leaves_nothing_in_the_store() {
    if !is_root("a_damaged_archive_leaves_nothing_in_the_store") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = Tar::default().pax(&[("mtime", b"1.5")]).file("d/f", &[7; 600]).symlink("l", "d").end();
    // A step that meets every place of a record sooner or later.
    for position in (0..tar.len()).step_by(19) {
        let mut changed = tar.clone();
        changed[position] ^= 0x10;
        for (damaged, what) in [(&changed[..], "changed"), (&tar[..position], "the end")] {
            let layers = layer_count(&store);
            let answer = import(&store, damaged);
            check(&store, &answer, layers, &format!("byte {position} of {}: {what}", tar.len()));
        }
    }
    import(&store, &tar).expect("the archive as it was");
}
