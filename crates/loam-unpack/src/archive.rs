//! Reading tar, as a stream and with distrust: ustar, old V7, GNU (long names, base-256 numbers, sparse files) and PAX
//! (POSIX.1-2017, pax, "pax Interchange Format").
//!
//! The `tar` crate knows the layout of a header; the framing is done here, so that every length is bounded before
//! anything is allocated, so that one size, PAX before ustar, decides where the next header is (archives whose
//! headers disagree are how parsers get to see different entries), and so that a small file is written from the very
//! buffer that it was inflated into.

mod entry;
mod header;
mod number;
mod pax;
mod sparse;

use std::ops::Range;

use tar::Header;

use crate::blocks::Blocks;
use crate::split::Recorder;
use crate::unpack::UnpackError;
use entry::Extensions;
pub(crate) use entry::{Entry, EntryKind};
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
}

#[cfg(test)]
mod tests;
