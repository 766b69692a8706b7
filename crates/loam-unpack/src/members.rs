//! Tar files of images, from which single members are read by position.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};

use crate::archive::{Archive, Entry, EntryKind};
use crate::blocks::Positioned;
use crate::confined::{self, Unpacker};
use crate::decompress::{Compression, decoder, sniff};
use crate::error::{failed, invalid, unwrap_io, wrap};
use crate::space::Space;
use crate::unpack::UnpackError;

/// The most members that an archive of an image may have: two or three a layer, and a few.
pub(crate) const MEMBER_LIMIT: usize = 10_000;
/// The longest name that is kept, in bytes: an image's parts have shorter ones, and all of them are held in memory.
const NAME_LIMIT: usize = 1024;
/// The longest chain of links between members.
const LINK_LIMIT: usize = 4;

/// An archive on disk whose members are known.
#[derive(Debug)]
pub struct Listed {
    /// The archive without compression: as it is, or unpacked into a file that has no name.
    pub plain: File,
    /// Offset and size by name.
    pub members: HashMap<String, (u64, u64)>,
}

/// Finds the members of an archive; one that is compressed is first unpacked into a nameless file in `spool`. Whoever unpacks
/// layers does that as well.
pub fn open_archive(file: File, path: &Path, spool: &Path, unpacker: &Unpacker) -> Result<Listed> {
    let what = format!("the archive `{}` can't be read", path.display());
    let compression = compression(&file).map_err(|failure| wrap(failure, &what))?;
    let mut plain = tempfile::tempfile_in(spool)
        .map_err(|error| failed(format!("no file can be made in `{}`", spool.display()), error))?;
    let members = match unpacker {
        Unpacker::Confined(program) => {
            confined::find_members(program, (&file, compression), (&plain, spool), &what)?
        }
        Unpacker::InProcess if compression == Compression::None => list_members(&file, &what)?,
        Unpacker::InProcess => {
            let free = Space::look(&plain).map_err(|error| failed(what.clone(), error))?.bytes;
            let again = file.try_clone().map_err(|error| failed(what.clone(), error))?;
            decompress(again, compression, (&mut plain, free), &what)?;
            list_members(&plain, &what)?
        }
    };
    Ok(Listed { plain: if compression == Compression::None { file } else { plain }, members })
}

/// How an archive is compressed, by its first bytes.
fn compression(file: &File) -> Result<Compression> {
    let mut start = [0; 6];
    let mut length = 0;
    while length < start.len() {
        match file.read_at(&mut start[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("it can't be read", error)),
        }
    }
    sniff(&start[..length])
}

/// Decompresses a file into another one, of at most so many bytes, from whose beginning one can then read. `what` is the
/// beginning of messages.
pub(crate) fn decompress(
    file: File,
    compression: Compression,
    (plain, most): (&mut File, u64),
    what: &str,
) -> Result<()> {
    let input = BufReader::with_capacity(128 * 1024, file);
    let reader = decoder(input, compression).map_err(|error| unwrap_io(error, || what.to_owned()))?;
    let copied =
        io::copy(&mut reader.take(most), plain).map_err(|error| unwrap_io(error, || what.to_owned()))?;
    if copied == most {
        let cause = format!("it needs more than the {most} bytes that are free in the image store");
        return Err(Failure::new(ErrorKind::Exhausted, what).caused_by(io::Error::other(cause)));
    }
    plain.rewind().map_err(|error| failed(what, error))
}

/// Where the members of a tar are: offset and size by name. Links between members are resolved.
pub fn list_members(file: impl Read + Seek, what: &str) -> Result<HashMap<String, (u64, u64)>> {
    let unreadable = |error| match error {
        UnpackError::Source(failure) => wrap(failure, what),
        other => other.into_failure(what.to_owned()),
    };
    let mut members = HashMap::new();
    let mut links: HashMap<String, String> = HashMap::new();
    let mut archive = Archive::new(Positioned::new(file).map_err(|error| failed(what, error))?);
    let mut entry = Entry::default();
    while archive.next_entry(&mut entry).map_err(unreadable)? {
        if members.len() + links.len() == MEMBER_LIMIT {
            return Err(invalid(what).caused_by(format!("it has more than {MEMBER_LIMIT} members")));
        }
        let Some(name) = member_name("", &entry.path) else { continue };
        // A symbolic link is relative to the directory it is in, a hard link to the archive.
        let base = match entry.kind {
            EntryKind::File if entry.sparse.is_none() => {
                members.insert(name, (archive.offset(), entry.size));
                continue;
            }
            EntryKind::Symlink => name.rsplit_once('/').map_or("", |(base, _)| base),
            EntryKind::HardLink => "",
            _ => continue,
        };
        if let Some(target) = member_name(base, &entry.link) {
            links.insert(name, target);
        }
    }
    for (name, first) in &links {
        let mut target = first;
        for _ in 0..LINK_LIMIT {
            match (members.get(target).copied(), links.get(target)) {
                (Some(place), _) => {
                    members.insert(name.clone(), place);
                    break;
                }
                (None, Some(next)) => target = next,
                (None, None) => break,
            }
        }
    }
    Ok(members)
}

/// The name of a member as it is looked up; `None` when it leaves the archive, or can't be the name of an image's part.
fn member_name(base: &str, name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok().filter(|name| base.len() + name.len() <= NAME_LIMIT)?;
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Tar;

    fn listed(tar: &[u8]) -> Result<HashMap<String, (u64, u64)>> {
        list_members(io::Cursor::new(tar), "the archive `x` can't be read")
    }

    #[test]
    fn members_are_found_through_links() {
        let tar = Tar::default()
            .file("a/layer.tar", b"abc")
            .symlink("b/layer.tar", "../a/layer.tar")
            .symlink("c", "../../etc/passwd")
            .link("d", "b/layer.tar")
            .end();
        let members = listed(&tar).expect("well formed");
        assert_eq!(members["a/layer.tar"], (512, 3));
        assert_eq!((members["b/layer.tar"], members["d"]), ((512, 3), (512, 3)));
        assert!(!members.contains_key("c"));
    }

    #[test]
    fn what_is_large_is_passed_over_and_what_is_cut_short_is_noticed() {
        let tar = Tar::default()
            .file("large", &vec![7; 1_000_001])
            .pax(&[("path", b"behind"), ("comment", &[b'x'; 40_000])])
            .file("", b"xyz")
            .end();
        let members = listed(&tar).expect("well formed");
        assert_eq!(members["large"], (512, 1_000_001));
        let (offset, size) = members["behind"];
        let offset = usize::try_from(offset).expect("small");
        assert_eq!((&tar[offset..offset + 3], size), (&b"xyz"[..], 3));
        for length in [512, 5000, 1_000_000, 1_002_000] {
            let told = listed(&tar[..length]).expect_err("cut short").chain();
            assert!(
                told.starts_with("the archive `x` can't be read: the archive is malformed: it ends"),
                "{told}"
            );
        }
    }

    #[test]
    fn no_member_is_read_into_memory_whatever_it_says_of_its_size() {
        // Long names and maps of sparse files, which some readers hold in memory whole.
        let long = |kind| Tar::default().raw(kind, b"x", b"", b"", |header| header.set_size(8 << 30)).end();
        for (kind, word) in
            [(b'L', "an extension header is 8589934592 bytes long"), (b'0', "in the middle of an entry")]
        {
            let told = listed(&long(kind)).expect_err("too long").chain();
            assert!(told.ends_with(word), "{told}");
        }
        let endless = "n".repeat(NAME_LIMIT + 1);
        let tar = Tar::default().pax(&[("path", endless.as_bytes())]).file("", b"x").file("y", b"").end();
        assert_eq!(listed(&tar).expect("well formed").len(), 1, "a name without end is no part of an image");
    }
}
