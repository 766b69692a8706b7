//! The tar reader.

use loam_testkit::archives::Tar;
use loam_unpack::fuzzing;

use super::{seed, selected};
use crate::{Target, checksums, sentence};

/// The most members that a listing takes.
const MEMBER_LIMIT: usize = 10_000;

/// The target. An odd first byte has the checksums of headers mended.
pub const TARGET: Target = Target { name: "archive", run, seeds, words: WORDS };

const WORDS: &[&str] = &[
    "ustar\0",
    "ustar  \0",
    "00000000000\0",
    "77777777777",
    "\x0a",
    "9 size=0\n",
    "12 path=a/b\n",
    "GNU.sparse.map=",
    "GNU.sparse.size=",
    "GNU.sparse.major=1\n",
    "GNU.sparse.realsize=9\n",
    "GNU.sparse.offset=",
    "GNU.sparse.numbytes=",
    "GNU.sparse.name=",
    "SCHILY.xattr.user.a=",
    "LIBARCHIVE.xattr.user.%61=aGk",
    "mtime=-1.5\n",
    "uid=4294967295\n",
    "linkpath=",
];

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    let archive = if how & 1 == 1 { checksums::mended(rest) } else { rest.to_vec() };
    let (mut members, mut sum) = (Vec::new(), 0);
    let read = fuzzing::archive(&archive, &mut |member| {
        sum += member.came;
        members.push(member);
    });
    assert!(sum <= archive.len() as u64, "more data came than there is");
    for member in &members {
        assert_eq!(member.size, member.came, "{member:?}");
        check_sparse(member);
    }
    let listed = fuzzing::positions(&archive);
    if let Err(failure) = &read {
        sentence::check(failure);
    } else if members.len() < MEMBER_LIMIT {
        assert!(listed.is_ok(), "it can be read, but not be passed over: {listed:?}");
    }
    match listed {
        Ok(places) => {
            for (name, (offset, size)) in places {
                assert!(offset + size <= archive.len() as u64, "{name} reaches beyond the archive");
            }
        }
        Err(failure) => sentence::check(&failure),
    }
}

fn check_sparse(member: &fuzzing::Member) {
    let Some((parts, length)) = &member.sparse else { return };
    let (mut end, mut data) = (0, 0);
    for (offset, count) in parts {
        assert!(*offset >= end && offset + count <= *length, "{member:?}");
        end = offset + count;
        data += count;
    }
    assert_eq!(data, member.size, "{member:?}");
}

fn seeds() -> Vec<Vec<u8>> {
    let long = "d/".repeat(60) + "name";
    let all = Tar::default()
        .directory("./", 0o750)
        .file("short", b"one")
        .raw(b'L', b"././@LongLink", b"", format!("{long}\0").as_bytes(), |_| {})
        .file("cut", b"two")
        .raw(b'K', b"././@LongLink", b"", b"target\0", |_| {})
        .symlink("link", "cut")
        .pax(&[("path", b"pax"), ("mtime", b"12.5"), ("SCHILY.xattr.user.k", b"\0\n"), ("uid", b"7")])
        .file("x", b"three")
        .raw(b'3', b"null", b"", b"", |_| {})
        .end();
    let old_sparse = Tar::default()
        .raw(b'S', b"s", b"", &[1; 600], |header| {
            let bytes = header.as_mut_bytes();
            bytes[386..398].copy_from_slice(b"00000002000\0");
            bytes[398..410].copy_from_slice(b"00000001130\0");
            bytes[483..495].copy_from_slice(b"00000010000\0");
        })
        .end();
    let map = |records: &[(&str, &[u8])], data: &[u8]| Tar::default().pax(records).file("s", data).end();
    let in_data = [&b"1\n3\n4\n"[..], &[0; 506], b"abcd"].concat();
    let archives = [
        all,
        old_sparse,
        map(&[("GNU.sparse.size", b"99"), ("GNU.sparse.map", b"0,3,90,4")], b"abcdefg"),
        map(
            &[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9"), ("GNU.sparse.name", b"n")],
            &in_data,
        ),
        map(&[("size", b"4")], b"abcd"),
        Tar::default().raw(b'g', b"g", b"", b"15 comment=abc\n", |_| {}).raw(0, b"old/", b"", b"", |_| {}).0,
        Tar::default().raw(b'0', b"big", b"", b"", |header| header.set_size(1 << 40)).0,
    ];
    archives.iter().flat_map(|archive| [seed(0, archive), seed(1, archive)]).collect()
}
