//! Reading tar, as a stream and with distrust: ustar, old V7, GNU (long names, base-256 numbers, sparse files) and PAX
//! (POSIX.1-2017, pax, "pax Interchange Format").
//!
//! The `tar` crate knows the layout of a header; the framing is done here, so that every length is bounded before
//! anything is allocated, so that one size, PAX before ustar, decides where the next header is (archives whose
//! headers disagree are how parsers get to see different entries), and so that a small file is written from the very
//! buffer that it was inflated into.

mod number;
mod pax;
mod sparse;

use std::borrow::Cow;
use std::ops::Range;

use tar::Header;

use crate::blocks::Blocks;
use crate::split::Recorder;
use crate::unpack::UnpackError;
use pax::Pax;
pub(crate) use sparse::Segment;

/// The unit of the format.
const RECORD: usize = 512;
/// The largest extension (long name, PAX records, sparse map) that is read into memory.
const EXTENSION_LIMIT: u64 = 1 << 20;
/// The most bytes of extensions that stand before one entry.
const EXTENSIONS_LIMIT: u64 = 4 << 20;
/// The most bytes that may follow the end of the archive; tape programs fill up to 10 KiB, on some tapes to 1 MiB.
const TRAILER_LIMIT: u64 = 1 << 20;

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
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// An archive being read.
pub(crate) struct Archive<B> {
    blocks: B,
    block: Vec<u8>,
    position: usize,
    /// How many bytes of the stream have been taken.
    offset: u64,
    ended: bool,
    /// Bytes of data of the present entry that are not yet read.
    remaining: u64,
    /// Bytes that fill the last record up.
    padding: u64,
    /// Takes everything but files' data, when it is to be kept.
    recorder: Option<Recorder>,
}

impl<B: Blocks> Archive<B> {
    pub(crate) fn new(blocks: B) -> Self {
        Self {
            blocks,
            block: Vec::new(),
            position: 0,
            offset: 0,
            ended: false,
            remaining: 0,
            padding: 0,
            recorder: None,
        }
    }

    /// Keeps everything but files' data from now on.
    pub(crate) fn keep_framing(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Ends what is kept; whether that is all of it, `None` when nothing was to be kept.
    pub(crate) fn finish_framing(&mut self) -> std::io::Result<Option<bool>> {
        self.recorder.take().map(Recorder::finish).transpose()
    }

    /// Takes note that the data of the present entry goes into this file.
    pub(crate) fn begin_file(&mut self, path: &[u8], entry: &Entry) {
        let Some(recorder) = &mut self.recorder else { return };
        match &entry.sparse {
            Some((segments, _)) => recorder.file(path, segments),
            None => recorder.file(path, &[Segment { offset: 0, length: entry.size }]),
        }
    }

    /// Reads the headers of the next entry into `entry`; false at the end of the archive.
    pub(crate) fn next_entry(&mut self, entry: &mut Entry) -> Result<bool, UnpackError> {
        self.skip_data()?;
        let mut extensions = Extensions::default();
        let began = self.offset;
        loop {
            self.bound(began, EXTENSIONS_LIMIT, "of extension headers stand before one entry")?;
            let Some(bytes) = self.header()? else {
                let dangling =
                    extensions.name.is_some() || extensions.link.is_some() || extensions.pax.is_some();
                if dangling {
                    return Err(UnpackError::malformed("it ends after an extension header"));
                }
                return Ok(false);
            };
            let header = Header::from_byte_slice(&bytes);
            match bytes[156] {
                b'L' => extensions.name = Some(self.long_name(&bytes)?),
                b'K' => extensions.link = Some(self.long_name(&bytes)?),
                b'x' => extensions.pax = Some(Pax::parse(&self.extension(&bytes)?)?),
                b'g' => Pax::parse(&self.extension(&bytes)?)?.check_global()?,
                _ => {
                    self.begin(header, extensions, entry)?;
                    return Ok(true);
                }
            }
        }
    }

    /// The next bytes of the present entry's data, which go into a file; empty when all is read.
    pub(crate) fn data(&mut self) -> Result<&[u8], UnpackError> {
        self.data_up_to(u64::MAX)
    }

    /// The next bytes of the present entry's data, which go into a file; at most so many.
    pub(crate) fn data_up_to(&mut self, limit: u64) -> Result<&[u8], UnpackError> {
        let taken = self.advance(limit)?;
        Ok(&self.block[taken])
    }

    /// The next bytes of an extension, or of data or padding that goes nowhere.
    fn rest(&mut self) -> Result<&[u8], UnpackError> {
        let taken = self.advance(u64::MAX)?;
        let bytes = &self.block[taken];
        if let Some(recorder) = &mut self.recorder {
            recorder.raw(bytes);
        }
        Ok(bytes)
    }

    /// Moves on; where in the block the bytes lie that were passed.
    fn advance(&mut self, limit: u64) -> Result<Range<usize>, UnpackError> {
        if self.remaining == 0 {
            return Ok(0..0);
        }
        if self.position == self.block.len() {
            self.refill()?;
            if self.ended {
                return Err(UnpackError::malformed("it ends in the middle of an entry"));
            }
        }
        let available = self.block.len() - self.position;
        let count = usize::try_from(self.remaining.min(limit)).unwrap_or(usize::MAX).min(available);
        self.remaining -= count as u64;
        self.position += count;
        self.offset += count as u64;
        Ok(self.position - count..self.position)
    }

    /// Reads what follows the end of the archive, so that it is hashed too.
    pub(crate) fn drain(&mut self) -> Result<(), UnpackError> {
        let end = self.offset;
        loop {
            self.offset += (self.block.len() - self.position) as u64;
            if let Some(recorder) = &mut self.recorder {
                recorder.raw(&self.block[self.position..]);
            }
            self.position = self.block.len();
            self.bound(end, TRAILER_LIMIT, "follow its end")?;
            if self.ended {
                return Ok(());
            }
            self.refill()?;
        }
    }

    /// How many bytes of the stream have been taken, the headers of the present entry among them.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// An error when more than `limit` bytes have been taken since `began`.
    fn bound(&self, began: u64, limit: u64, what: &str) -> Result<(), UnpackError> {
        if self.offset - began > limit {
            return Err(UnpackError::malformed(format!("more than {limit} bytes {what}")));
        }
        Ok(())
    }

    /// Ends, and gives back where the blocks came from.
    pub(crate) fn into_blocks(self) -> B {
        self.blocks
    }

    fn refill(&mut self) -> Result<(), UnpackError> {
        let spent = std::mem::take(&mut self.block);
        self.position = 0;
        self.block = self.blocks.next(spent)?;
        self.ended = self.block.is_empty();
        Ok(())
    }

    /// Skips unread data and the padding after it.
    fn skip_data(&mut self) -> Result<(), UnpackError> {
        // At most u64::MAX / 2 bytes of data: see `begin`.
        self.remaining += self.padding;
        self.padding = 0;
        let here = (self.block.len() - self.position) as u64;
        if self.recorder.is_none() && self.remaining > here {
            let passed = self.blocks.skip(self.remaining - here)?;
            self.remaining -= passed;
            self.offset += passed;
        }
        while !self.rest()?.is_empty() {}
        Ok(())
    }

    /// The next header that is not the end-of-archive mark.
    fn header(&mut self) -> Result<Option<[u8; RECORD]>, UnpackError> {
        let Some(bytes) = self.record()? else { return Ok(None) };
        if bytes.iter().all(|byte| *byte == 0) {
            return match self.record()? {
                Some(second) if second.iter().any(|byte| *byte != 0) => {
                    Err(UnpackError::malformed("an entry follows a record of zeros"))
                }
                _ => Ok(None),
            };
        }
        if !checksum_fits(&bytes) {
            return Err(UnpackError::malformed("a header's checksum is wrong"));
        }
        Ok(Some(bytes))
    }

    /// The next record; `None` at the end of the stream.
    fn record(&mut self) -> Result<Option<[u8; RECORD]>, UnpackError> {
        let mut bytes = [0; RECORD];
        if self.position == self.block.len() {
            if !self.ended {
                self.refill()?;
            }
            if self.ended {
                return Ok(None);
            }
        }
        // Blocks are multiples of a record but for the last, and all that was read before was in whole records.
        let end = self.position + RECORD;
        let Some(found) = self.block.get(self.position..end) else {
            return Err(UnpackError::malformed("it ends in the middle of a header"));
        };
        bytes.copy_from_slice(found);
        self.position = end;
        self.offset += RECORD as u64;
        if let Some(recorder) = &mut self.recorder {
            recorder.raw(&bytes);
        }
        Ok(Some(bytes))
    }

    /// Reads an extension whole.
    fn extension(&mut self, header: &[u8; RECORD]) -> Result<Vec<u8>, UnpackError> {
        let size = number::field(&header[124..136], "size")?;
        self.read_bounded(size)
    }

    fn read_bounded(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        if size > EXTENSION_LIMIT {
            return Err(UnpackError::malformed(format!("an extension header is {size} bytes long")));
        }
        self.remaining = size;
        self.padding = padding(size);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        loop {
            let piece = self.rest()?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(piece);
        }
        self.skip_data()?;
        Ok(bytes)
    }

    fn long_name(&mut self, header: &[u8; RECORD]) -> Result<Vec<u8>, UnpackError> {
        let mut name = self.extension(header)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        if name.is_empty() {
            return Err(UnpackError::malformed("a long name is empty"));
        }
        Ok(name)
    }

    /// Takes all headers of an entry together.
    fn begin(
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

    fn old_sparse_map(&mut self, header: &Header) -> Result<(Vec<Segment>, u64), UnpackError> {
        let Some(gnu) = header.as_gnu() else {
            return Err(UnpackError::malformed("a sparse file has no GNU header"));
        };
        let mut segments = Vec::new();
        sparse::take_headers(&gnu.sparse, &mut segments)?;
        let length = number::field(&gnu.realsize, "real size")?;
        let mut more = gnu.is_extended();
        let began = self.offset;
        while more {
            self.bound(began, EXTENSION_LIMIT * 2, "are the map of one sparse file")?;
            let mut extended = tar::GnuExtSparseHeader::new();
            let record = self.record()?.ok_or_else(|| UnpackError::malformed("a sparse map is cut short"))?;
            extended.as_mut_bytes().copy_from_slice(&record);
            sparse::take_headers(extended.sparse(), &mut segments)?;
            more = extended.is_extended();
        }
        Ok((segments, length))
    }

    fn pax_sparse_map(
        &mut self,
        pax: &Pax,
        entry: &mut Entry,
    ) -> Result<Option<(Vec<Segment>, u64)>, UnpackError> {
        let Some(length) = pax.sparse_length else { return Ok(None) };
        if !pax.sparse_in_data {
            return Ok(Some((pax.sparse_segments()?, length)));
        }
        // GNU sparse format 1.0: the map stands before the data, in decimal lines, and fills records.
        let mut text = Vec::new();
        let mut lines = sparse::MapLines::default();
        while !lines.complete(&text)? {
            if self.remaining < RECORD as u64 || text.len() as u64 > EXTENSION_LIMIT {
                return Err(UnpackError::malformed("a sparse map is cut short"));
            }
            let record = self.record()?.ok_or_else(|| UnpackError::malformed("a sparse map is cut short"))?;
            self.remaining -= RECORD as u64;
            entry.size -= RECORD as u64;
            text.extend_from_slice(&record);
        }
        Ok(Some((lines.segments(), length)))
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

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % RECORD as u64
}

/// The sum of all bytes, those of the checksum counted as spaces; signed bytes are what some old programs added up.
fn checksum_fits(bytes: &[u8; RECORD]) -> bool {
    let Ok(expected) = number::signed_field(&bytes[148..156], "checksum") else { return false };
    let rest = || bytes[..148].iter().chain(&bytes[156..]);
    let unsigned: i64 = rest().map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
    let signed = || rest().map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + 8 * 32;
    expected == unsigned || expected == signed()
}

#[cfg(test)]
mod tests;
