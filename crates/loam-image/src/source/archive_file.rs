//! Tar files of images, from which single members are read by position.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use loam_model::{ErrorKind, Failure, Result};

use super::files::FileRange;
use crate::decompress::{Compression, decoder, sniff};
use crate::error::{failed, invalid, unwrap_io};
use crate::space::Space;
use crate::staging::make_directory;

/// The most members that an archive of an image may have: two or three a layer, and a few.
const MEMBER_LIMIT: usize = 10_000;
/// The longest chain of links between members.
const LINK_LIMIT: usize = 4;

/// The archive without compression: as it is, or unpacked into a file in `spool` that has no name.
pub(super) fn plain(file: File, size: u64, path: &Path, spool: &Path) -> Result<File> {
    let what = || format!("the archive `{}` can't be read", path.display());
    let file = Arc::new(file);
    let mut start = [0; 6];
    let mut length = 0;
    let mut head = FileRange::new(file.clone(), 0, size);
    while length < start.len() {
        match head.read(&mut start[length..]).map_err(|error| failed(what(), error))? {
            0 => break,
            count => length += count,
        }
    }
    let compression = sniff(&start[..length])?;
    if compression == Compression::None {
        return Arc::try_unwrap(file)
            .or_else(|shared| shared.try_clone())
            .map_err(|error| failed(what(), error));
    }
    make_directory(spool)?;
    let input = BufReader::with_capacity(128 * 1024, FileRange::new(file, 0, size));
    let reader = decoder(input, compression).map_err(|error| unwrap_io(error, what))?;
    let mut spooled = tempfile::tempfile_in(spool)
        .map_err(|error| failed(format!("no file can be made in `{}`", spool.display()), error))?;
    let free = Space::look(&spooled).map_err(|error| failed(what(), error))?.bytes;
    let copied = io::copy(&mut reader.take(free), &mut spooled).map_err(|error| unwrap_io(error, what))?;
    if copied == free {
        let cause = format!("it needs more than the {free} bytes that are free in the image store");
        return Err(Failure::new(ErrorKind::Exhausted, what()).caused_by(io::Error::other(cause)));
    }
    spooled.rewind().map_err(|error| failed(what(), error))?;
    Ok(spooled)
}

/// Where the members of a tar are: offset and size by name. Links between members are resolved.
pub(super) fn list(file: impl Read + Seek, path: &Path) -> Result<HashMap<String, (u64, u64)>> {
    let what = || format!("the archive `{}` can't be read", path.display());
    let unreadable = |error: io::Error| match error.raw_os_error() {
        Some(_) => failed(what(), error),
        None => invalid(what()).caused_by(error),
    };
    let mut members = HashMap::new();
    let mut links: HashMap<String, String> = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if members.len() + links.len() == MEMBER_LIMIT {
            return Err(invalid(format!(
                "the archive `{}` has more than {MEMBER_LIMIT} members",
                path.display()
            )));
        }
        // A name that is not text is no name of an image's part.
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
        let Some(name) = member_name("", &name) else { continue };
        let kind = entry.header().entry_type();
        if kind.is_file() || kind.is_contiguous() {
            members.insert(name, (entry.raw_file_position(), entry.size()));
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().and_then(|bytes| String::from_utf8(bytes.into_owned()).ok());
            // A symbolic link is relative to the directory it is in, a hard link to the archive.
            let base =
                if kind.is_symlink() { name.rsplit_once('/').map_or("", |(base, _)| base) } else { "" };
            if let Some(target) = target.and_then(|target| member_name(base, &target)) {
                links.insert(name, target);
            }
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

/// The name of a member as it is looked up; `None` when it leaves the archive.
fn member_name(base: &str, name: &str) -> Option<String> {
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

    #[test]
    fn members_are_found_through_links() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        builder.append_data(&mut header, "a/layer.tar", &b"abc"[..]).expect("to memory");
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "b/layer.tar", "../a/layer.tar").expect("to memory");
        builder.append_link(&mut link, "c", "../../etc/passwd").expect("to memory");
        let bytes = builder.into_inner().expect("to memory");
        let members = list(io::Cursor::new(&bytes), Path::new("x")).expect("well formed");
        assert_eq!(members["b/layer.tar"], members["a/layer.tar"]);
        let (offset, size) = members["a/layer.tar"];
        assert_eq!((offset, size), (512, 3));
        assert!(!members.contains_key("c"));
    }
}
