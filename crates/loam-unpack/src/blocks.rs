//! The unpacked stream of a layer, in blocks that are hashed as they pass.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use loam_model::{Digest, DigestAlgorithm, Failure};

use crate::error::{failed, unwrap_io};
use crate::hashing::Hasher;

/// The size of a block. A multiple of the tar record, so that no header lies across two blocks; large enough that a
/// system call a file is the rule, small enough to stay in the second-level cache.
pub(crate) const BLOCK_SIZE: usize = 256 * 1024;

/// Gives the stream block by block.
pub(crate) trait Blocks {
    /// The next block: a multiple of the tar record, fewer bytes only at the end of the stream, none after it. `spent` is a block
    /// given before, for reuse.
    fn next(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, Failure>;

    /// Passes over the next bytes without reading them; how many of these it was, none where that can't be done. What is
    /// less than `count` is a multiple of the tar record, or reaches to the end of the stream.
    fn skip(&mut self, _count: u64) -> Result<u64, Failure> {
        Ok(0)
    }
}

/// Fills and hashes blocks from a reader.
pub(crate) struct Filler<'a, R> {
    reader: R,
    hasher: Hasher,
    length: u64,
    stop: &'a AtomicBool,
}

impl<'a, R: Read> Filler<'a, R> {
    /// Makes a filler that gives up when `stop` becomes true.
    pub(crate) fn new(reader: R, algorithm: DigestAlgorithm, stop: &'a AtomicBool) -> Self {
        Self { reader, hasher: Hasher::new(algorithm), length: 0, stop }
    }

    /// The digest and the length of all that has passed.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.length)
    }
}

impl<R: Read> Blocks for Filler<'_, R> {
    fn next(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, Failure> {
        // Only the last block is shorter than the others; memory that is zero already comes cheaper than zeroing.
        let mut block = if spent.len() == BLOCK_SIZE { spent } else { vec![0; BLOCK_SIZE] };
        let mut filled = 0;
        while filled < BLOCK_SIZE {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Failure::new(loam_model::ErrorKind::Conflict, "the pull was given up"));
            }
            match self.reader.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    self.hasher.update(&block[filled..filled + count]);
                    filled += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unwrap_io(error, || "the data can't be decompressed".to_owned())),
            }
        }
        block.truncate(filled);
        self.length += filled as u64;
        Ok(block)
    }
}

/// The blocks of a file in which one can move.
pub(crate) struct Positioned<F> {
    file: F,
    left: u64,
}

/// The size of its blocks: for headers, of which few stand together.
const SMALL_BLOCK: usize = 16 * 1024;

impl<F: Read + Seek> Positioned<F> {
    /// Begins at the beginning.
    pub(crate) fn new(mut file: F) -> io::Result<Self> {
        let left = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Self { file, left })
    }
}

impl<F: Read + Seek> Blocks for Positioned<F> {
    fn next(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let mut block = spent;
        block.resize(usize::try_from(self.left).unwrap_or(SMALL_BLOCK).min(SMALL_BLOCK), 0);
        self.file.read_exact(&mut block).map_err(unreadable)?;
        self.left -= block.len() as u64;
        Ok(block)
    }

    fn skip(&mut self, count: u64) -> Result<u64, Failure> {
        let count = count.min(self.left);
        let distance = i64::try_from(count).unwrap_or(i64::MAX);
        self.file.seek_relative(distance).map_err(unreadable)?;
        self.left -= count;
        Ok(count)
    }
}

fn unreadable(error: io::Error) -> Failure {
    failed("it can't be read", error)
}

/// Blocks that another thread fills: see [`pump`].
pub(crate) struct Piped {
    full: Receiver<Result<Vec<u8>, Failure>>,
    empty: Sender<Vec<u8>>,
}

impl Piped {
    pub(crate) fn new(full: Receiver<Result<Vec<u8>, Failure>>, empty: Sender<Vec<u8>>) -> Self {
        Self { full, empty }
    }
}

impl Blocks for Piped {
    fn next(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, Failure> {
        // The pump may have ended already; then nobody wants the block back.
        self.empty.send(spent).ok();
        self.full.recv().unwrap_or_else(|_| Ok(Vec::new()))
    }
}

/// Moves blocks from a filler to a [`Piped`] until the end of the stream, a failure, or the loss of the other side.
pub(crate) fn pump<R: Read>(
    filler: &mut Filler<'_, R>,
    full: &SyncSender<Result<Vec<u8>, Failure>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let result = filler.next(empty.try_recv().unwrap_or_default());
        let last = result.as_ref().map_or(true, Vec::is_empty);
        if full.send(result).is_err() || last {
            return;
        }
    }
}
