//! Archives that are damaged at any byte, or end at any: an answer each time, and nothing that stays.

use std::fs;

use rustix::fs::CWD;

use super::super::Budget;
use crate::fixture::{Tar, is_root, unpack_into};
use crate::{Space, delete};

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
    fs::create_dir(place.join("layer")).expect("a directory");
    let space = Space { block: 4096, bytes: 1 << 30, inodes: None };
    let budget = Budget::new(move || Ok(space), None).expect("a budget");
    let unpacked = unpack_into(&place.join("layer"), tar, &budget).map(drop);
    let is_taken = unpacked.is_ok();
    if let Err(error) = unpacked {
        let told = error.into_failure("it can't be unpacked".to_owned()).chain();
        assert!(!told.contains(char::is_control), "{case}: {told:?}");
    }
    delete::tree(CWD, &place.join("layer")).expect(case);
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
