//! Archives of every tar dialect, whole ones and broken ones.

use std::sync::atomic::AtomicBool;

use loam_model::{DigestAlgorithm, Failure};
use proptest::prelude::*;

use super::*;
use crate::blocks::Filler;
use crate::fixture::Tar;

/// Reads a whole archive: the entries, each with its data.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, UnpackError> {
    let stop = AtomicBool::new(false);
    let mut archive = Archive::new(Filler::new(bytes, DigestAlgorithm::Sha256, &stop));
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    while archive.next_entry(&mut entry)? {
        let mut data = Vec::new();
        loop {
            let piece = archive.data()?;
            if piece.is_empty() {
                break;
            }
            data.extend_from_slice(piece);
        }
        entries.push((entry.clone(), data));
    }
    archive.drain()?;
    Ok(entries)
}

fn paths(bytes: &[u8]) -> Vec<String> {
    let entries = read(bytes).expect("well formed");
    entries.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).map(|entries| entries.len()).expect_err("malformed").to_string()
}

#[test]
fn names_sizes_and_data_of_all_dialects() {
    let long = "d/".repeat(60) + "name";
    let tar = Tar::default()
        .file("short", b"one")
        .raw(b'L', b"././@LongLink", b"", format!("{long}\0").as_bytes(), |_| {})
        .file("cut", b"two")
        .pax(&[("path", b"pax"), ("mtime", b"12.5"), ("SCHILY.xattr.user.k", b"\0\n")])
        .file("x", b"three")
        .raw(0, b"old/", b"", b"", |_| {})
        .end();
    let entries = read(&tar).expect("well formed");
    let (pax, data) = &entries[2];
    assert_eq!(paths(&tar), ["short", long.as_str(), "pax", "old/"]);
    assert_eq!((data.as_slice(), pax.mtime), (&b"three"[..], (12, 500_000_000)));
    assert_eq!(pax.xattrs, [(b"user.k".to_vec(), b"\0\n".to_vec())]);
    assert_eq!(entries[3].0.kind, EntryKind::Directory);
    assert_eq!(paths(&Tar::default().file("no end mark", b"x").0), ["no end mark"]);
}

#[test]
fn archives_of_the_tar_program_are_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("a"), vec![7; 300_000]).expect("a file");
    let sparse = std::fs::File::create(directory.path().join("s")).expect("a file");
    sparse.set_len(10 << 20).expect("a hole");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"island", 5 << 20).expect("data");
    let pax = ["0.0", "0.1", "1.0"].map(|version| ("--format=pax", Some(version)));
    let others = ["--format=gnu", "--format=ustar", "--format=v7"].map(|format| (format, None));
    for (format, version) in pax.into_iter().chain(others) {
        let output = std::process::Command::new("tar")
            .arg("-C")
            .arg(directory.path())
            .args([if version.is_some() || format.ends_with("gnu") { "-cS" } else { "-c" }, format])
            .args(version.map(|version| format!("--sparse-version={version}")))
            .arg(".")
            .output()
            .expect("tar runs");
        let version = version.unwrap_or("");
        let entries = read(&output.stdout).unwrap_or_else(|error| panic!("{format} {version}: {error}"));
        let (file, data) = entries.iter().find(|(e, _)| e.path == b"./a").unwrap_or_else(|| {
            panic!(
                "{format} {version}: {} {:?}",
                String::from_utf8_lossy(&output.stderr),
                entries
                    .iter()
                    .map(|(e, _)| String::from_utf8_lossy(&e.path).into_owned())
                    .collect::<Vec<_>>()
            )
        });
        assert_eq!((file.size, data.len()), (300_000, 300_000), "{format}");
        let (entry, data) = entries.iter().find(|(e, _)| e.path == b"./s").expect("the sparse file");
        match &entry.sparse {
            Some((segments, length)) => {
                assert_eq!(*length, 10 << 20, "{format} {version}");
                let covers = |s: &Segment| s.offset <= 5 << 20 && s.offset + s.length > 5 << 20;
                assert!(segments.iter().any(covers), "{format} {version}: {segments:?}");
                assert!(data.windows(6).any(|window| window == b"island"));
            }
            None => assert_eq!(data.len(), 10 << 20, "{format} {version}"),
        }
    }
}

#[test]
fn one_size_decides_for_data_and_next_header() {
    // A ustar size of 0 with a PAX size that covers a whole archive: its entries must not be seen.
    let inner = Tar::default().file("hidden", b"").0;
    let length = inner.len().to_string();
    let tar = Tar::default()
        .pax(&[("size", length.as_bytes())])
        .raw(b'0', b"outer", b"", b"", |_| {})
        .pad(&inner)
        .file("after", b"")
        .end();
    assert_eq!(paths(&tar), ["outer", "after"]);
}

#[test]
fn what_is_malformed_is_refused() {
    let mut checksum = Tar::default().file("x", b"").0;
    checksum[0] = b'y';
    assert_eq!(refusal(&checksum), "the archive is malformed: a header's checksum is wrong");
    let whole = Tar::default().file("x", &[1; 2000]).0;
    assert!(refusal(&whole[..1500]).contains("in the middle of an entry"));
    assert!(refusal(&whole[..300]).contains("in the middle of a header"));
    let lone = [vec![0; 512], Tar::default().file("x", b"").0].concat();
    assert!(refusal(&lone).contains("follows a record of zeros"));
    let dangling = Tar::default().pax(&[("path", b"x")]).end();
    assert!(refusal(&dangling).contains("after an extension header"));
    let global = Tar::default().raw(b'g', b"g", b"", b"10 path=x\n", |_| {}).file("y", b"").end();
    assert!(refusal(&global).contains("global PAX header"));
    let unknown = Tar::default().raw(b'Z', b"odd", b"", b"", |_| {}).end();
    assert_eq!(refusal(&unknown), "entry `odd` is of the unknown type `Z`");
}

#[test]
fn extensions_are_bounded() {
    let huge = |kind: u8, size: u64| Tar::default().raw(kind, b"x", b"", b"", |h| h.set_size(size)).end();
    for kind in [b'x', b'L', b'K', b'g'] {
        assert!(refusal(&huge(kind, (1 << 20) + 1)).contains("extension header"), "{kind}");
    }
    let map = Tar::default()
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")])
        .file("s", b"99999999\n")
        .end();
    assert!(refusal(&map).contains("sparse"), "{}", refusal(&map));
    let overlap = Tar::default()
        .pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"4,2,0,2")])
        .file("s", b"abcd")
        .end();
    assert!(refusal(&overlap).contains("does not fit"));
}

#[test]
fn an_archive_ends_soon_after_its_end() {
    let whole = Tar::default().file("x", b"").end();
    let padded = |zeros: usize| [whole.clone(), vec![0; zeros]].concat();
    assert_eq!(paths(&padded(1 << 20)), ["x"]);
    let message = "the archive is malformed: more than 1048576 bytes follow its end";
    assert_eq!(refusal(&padded((1 << 20) + 1)), message);
    // One that never ends is not read to its end.
    let stop = AtomicBool::new(false);
    let endless = std::io::Read::chain(&whole[..], std::io::repeat(0));
    let mut archive = Archive::new(Filler::new(endless, DigestAlgorithm::Sha256, &stop));
    while archive.next_entry(&mut Entry::default()).expect("well formed") {}
    assert_eq!(archive.drain().expect_err("endless").to_string(), message);
}

#[test]
fn headers_without_end_are_refused() {
    let zeros = [0; 512];
    let comment = Tar::default()
        .raw(b'g', b"g", b"", &[b"600000 comment=", &[b'x'; 599_984][..], b"\n"].concat(), |_| {})
        .0;
    let mut sparse = Tar::default().raw(b'S', b"s", b"", b"", |h| h.as_mut_bytes()[482] = 1).0;
    sparse.truncate(512);
    // A further record of the map, which is empty but says that one more follows.
    let mut more = zeros;
    more[504] = 1;
    for (mut start, again, what) in [
        (Vec::new(), comment, "4194304 bytes of extension headers stand before one entry"),
        (sparse, more.to_vec(), "2097152 bytes are the map of one sparse file"),
    ] {
        start.extend(again.repeat(8192 * 512 / again.len() + 1));
        assert_eq!(refusal(&start), format!("the archive is malformed: more than {what}"));
    }
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        read(&bytes).ok();
        // The same with a checksum that fits, so that the fields are looked at.
        if bytes.len() >= 512 {
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes[..512]);
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
            read(&bytes).ok();
        }
    }

    #[test]
    fn files_come_out_as_they_went_in(files in proptest::collection::vec(("[a-z]{1,90}", 0..3000_usize), 0..8)) {
        let tar = files.iter().fold(Tar::default(), |tar, (name, size)| tar.file(name, &vec![b'x'; *size])).end();
        let entries = read(&tar).expect("well formed");
        let found: Vec<(String, usize)> = entries
            .iter()
            .map(|(entry, data)| (String::from_utf8_lossy(&entry.path).into_owned(), data.len()))
            .collect();
        prop_assert_eq!(found, files);
    }
}

#[test]
fn a_source_that_fails_is_quoted() {
    struct Broken;
    impl Blocks for Broken {
        fn next(&mut self, _: Vec<u8>) -> Result<Vec<u8>, Failure> {
            Err(Failure::new(loam_model::ErrorKind::Unavailable, "gone"))
        }
    }
    let error = Archive::new(Broken).next_entry(&mut Entry::default()).expect_err("broken");
    assert_eq!(error.to_string(), "gone");
}
