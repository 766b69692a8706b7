//! An entry, taken together from all its headers.

use std::borrow::Cow;

use tar::Header;

use super::header::padding;
use super::pax::Pax;
use super::{Archive, RECORD, Segment, number, sparse};
use crate::blocks::Blocks;
use crate::unpack::UnpackError;

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EntryKind {
    #[default]
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry, all headers taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// The name as it stands in the archive.
    pub(crate) path: Vec<u8>,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// Bytes of data in the archive.
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, u32),
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes by name.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a sparse file belongs, and its whole length.
    pub(crate) sparse: Option<(Vec<Segment>, u64)>,
}

/// Extension headers that wait for their entry.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) pax: Option<Pax>,
}

impl<B: Blocks> Archive<B> {
    /// Takes all headers of an entry together.
    pub(super) fn begin(
        &mut self,
        header: &Header,
        extensions: Extensions,
        entry: &mut Entry,
    ) -> Result<(), UnpackError> {
        let bytes = header.as_bytes();
        let pax = extensions.pax.unwrap_or_default();
        (entry.path, entry.link) = names(header, extensions.name, extensions.link, &pax);
        entry.mode = u32::try_from(number::field(&bytes[100..108], "mode")? & 0o7777).unwrap_or_default();
        entry.uid = pax.uid.map_or_else(|| number::field(&bytes[108..116], "uid"), Ok)?;
        entry.gid = pax.gid.map_or_else(|| number::field(&bytes[116..124], "gid"), Ok)?;
        entry.mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => (number::signed_field(&bytes[136..148], "mtime")?, 0),
        };
        let size = pax.size.map_or_else(|| number::field(&bytes[124..136], "size"), Ok)?;
        if size > u64::MAX / 4 {
            return Err(UnpackError::malformed("an entry's size is absurd"));
        }
        entry.kind = kind(bytes[156], &entry.path)?;
        let has_data =
            entry.kind == EntryKind::File || (entry.kind == EntryKind::Directory && bytes[156] != b'5');
        entry.size = if has_data { size } else { 0 };
        entry.device = device(entry.kind, bytes)?;
        // The map of an old GNU sparse file goes on in records of its own, before the data.
        let old_map = match bytes[156] {
            b'S' => Some(self.old_sparse_map(header)?),
            _ => None,
        };
        self.remaining = entry.size;
        self.padding = padding(entry.size);
        entry.sparse = match old_map {
            Some(map) => Some(map),
            None if entry.kind == EntryKind::File => self.pax_sparse_map(&pax, entry)?,
            None => None,
        };
        if let Some((segments, length)) = &entry.sparse {
            sparse::check(segments, *length, self.remaining)?;
        }
        entry.xattrs = pax.xattrs;
        Ok(())
    }
}

fn kind(flag: u8, path: &[u8]) -> Result<EntryKind, UnpackError> {
    Ok(match flag {
        // Before ustar a directory was a file whose name ends in a slash.
        0 | b'0' | b'7' if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharacterDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => {
            let flag = loam_model::shown(&char::from(other).to_string());
            return Err(UnpackError::entry(path, format!("is of the unknown type `{flag}`")));
        }
    })
}

/// The name and the link's target; what an extension says goes before the header's own, short field.
fn names(header: &Header, name: Option<Vec<u8>>, link: Option<Vec<u8>>, pax: &Pax) -> (Vec<u8>, Vec<u8>) {
    let name = pax.path().map(<[u8]>::to_vec).or(name);
    let link = pax.link.clone().or(link).or_else(|| header.link_name_bytes().map(Cow::into_owned));
    (name.unwrap_or_else(|| header.path_bytes().into_owned()), link.unwrap_or_default())
}

/// The numbers of a device; zeros for all else.
fn device(kind: EntryKind, bytes: &[u8; RECORD]) -> Result<(u32, u32), UnpackError> {
    if !matches!(kind, EntryKind::CharacterDevice | EntryKind::BlockDevice) {
        return Ok((0, 0));
    }
    let part = |field, what| {
        let value = number::field(field, what)?;
        u32::try_from(value).map_err(|_| UnpackError::malformed("a device number is too large"))
    };
    Ok((part(&bytes[329..337], "major")?, part(&bytes[337..345], "minor")?))
}
