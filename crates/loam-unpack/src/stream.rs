//! One blob on its way into a directory: decompressed, hashed, unpacked.

use std::fs::File;
use std::io::{BufRead, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{channel, sync_channel};

use loam_model::{Digest, DigestAlgorithm};

use crate::archive::Archive;
use crate::blocks::{Blocks, Filler, Piped, pump};
use crate::confined::{self, Unpacker};
use crate::decompress::{Compression, decoder};
use crate::error::{failed, unwrap_io};
use crate::split::Recorder;
use crate::threads;
use crate::unpack::{Budget, MarkOpaque, UnpackError, Unpacked, mark_opaque, unpack};

/// Blocks on their way between two threads. With the two that are being filled and read that is 1.25 MiB a blob.
const PIPE_BLOCKS: usize = 3;
/// A blob that may be worth a thread beside others, in bytes: some fifty milliseconds of inflating.
const LARGE_BLOB: u64 = 4 << 20;

/// Where a layer is unpacked to.
#[derive(Debug)]
pub struct Destination {
    /// The directory of the files, empty.
    pub files: OwnedFd,
    /// Becomes the record of the tar, from which [`Reassembled`](crate::Reassembled) puts it together again.
    pub split: File,
}

/// How a stream is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// What all layers of the pull may take together.
    pub budget: &'a Budget,
    /// Becomes true when the pull is given up.
    pub stop: &'a AtomicBool,
    /// The algorithm of the diff id.
    pub algorithm: DigestAlgorithm,
    /// Whether to decompress, and hash both sides of it, in a thread of its own: see [`Means::is_worth_a_thread`].
    pub own_thread: bool,
    /// Who does it.
    pub unpacker: &'a Unpacker,
}

impl Means<'_> {
    /// Whether it gains time to decompress a blob of `size` bytes in a thread of its own, where `blobs` blobs of `total` bytes, all
    /// compressed, are unpacked by so many processors.
    /// With fewer blobs than processors one is idle. Otherwise each processor has a blob, and two threads only take its bytes from
    /// one processor's cache to the other's, which costs some five per cent; but a blob that is more than a processor's share
    /// is the last one on its way, alone.
    pub fn is_worth_a_thread(processors: usize, blobs: usize, size: u64, total: u64) -> bool {
        let share = total / processors.max(1) as u64;
        processors > 1 && (blobs < processors || (size >= LARGE_BLOB && size > share))
    }
}

/// A layer that was unpacked.
#[derive(Debug)]
pub struct UnpackedLayer {
    /// What was made of it.
    pub unpacked: Unpacked,
    /// Whether the tar can be put together again.
    pub is_recorded: bool,
    /// The digest of the decompressed stream.
    pub diff_id: Digest,
    /// Bytes of it.
    pub length: u64,
}

/// What comes of unpacking a layer.
pub type UnpackResult = std::result::Result<UnpackedLayer, UnpackError>;

/// Decompresses what a reader gives, which is compressed like this, and unpacks it into an empty directory. A program that has
/// come to its own end may leave some of the bytes unread: whoever has promises to keep of them reads on. `what` is the
/// beginning of messages.
pub fn unpack_layer(
    input: &mut (dyn BufRead + Send),
    compression: Compression,
    destination: Destination,
    means: Means<'_>,
    what: &str,
) -> UnpackResult {
    match means.unpacker {
        Unpacker::InProcess => decode_and_unpack(input, compression, destination, means, &mark_opaque),
        Unpacker::Confined(program) => {
            confined::unpack(input, compression, destination, (means, program), what)
        }
    }
}

/// Decompresses a stream and unpacks it, here.
pub(crate) fn decode_and_unpack(
    input: impl BufRead + Send,
    compression: Compression,
    destination: Destination,
    means: Means<'_>,
    mark_opaque: MarkOpaque<'_>,
) -> UnpackResult {
    let reader = decoder(input, compression)
        .map_err(|error| unwrap_io(error, || "the data can't be decompressed".to_owned()))?;
    let filler = Filler::new(reader, means.algorithm, means.stop);
    let ((unpacked, is_recorded), (diff_id, length)) = if means.own_thread {
        two_threads(filler, destination, means, mark_opaque)?
    } else {
        one_thread(filler, destination, means, mark_opaque)?
    };
    Ok(UnpackedLayer { unpacked, is_recorded, diff_id, length })
}

/// What was unpacked and whether its tar is recorded; digest and length of the stream.
type Threaded = std::result::Result<((Unpacked, bool), (Digest, u64)), UnpackError>;

fn one_thread<R: Read>(
    filler: Filler<'_, R>,
    destination: Destination,
    means: Means<'_>,
    mark_opaque: MarkOpaque<'_>,
) -> Threaded {
    let mut archive = Archive::new(filler);
    let unpacked = unpack_recorded(&mut archive, destination, means.budget, mark_opaque)?;
    Ok((unpacked, archive.into_blocks().finish()))
}

fn two_threads<R: Read + Send>(
    mut filler: Filler<'_, R>,
    destination: Destination,
    means: Means<'_>,
    mark_opaque: MarkOpaque<'_>,
) -> Threaded {
    let (full, blocks) = sync_channel(PIPE_BLOCKS);
    let (spent, empty) = channel();
    std::thread::scope(|scope| {
        let pumping = threads::start(scope, move || {
            pump(&mut filler, &full, &empty);
            filler
        })?;
        let mut archive = Archive::new(Piped::new(blocks, spent));
        let result = unpack_recorded(&mut archive, destination, means.budget, mark_opaque);
        drop(archive);
        // The pipe is gone by now, so that the pump can't wait for it.
        let filler = pumping.join().expect("the pump does not panic");
        Ok((result?, filler.finish()))
    })
}

/// Unpacks, and records what the tar has beside the files' data; whether all of it could be.
fn unpack_recorded<B: Blocks>(
    archive: &mut Archive<B>,
    destination: Destination,
    budget: &Budget,
    mark_opaque: MarkOpaque<'_>,
) -> std::result::Result<(Unpacked, bool), UnpackError> {
    let unwritten = |error| UnpackError::from(failed("the record of its tar can't be written", error));
    archive.keep_framing(Recorder::new(destination.split).map_err(unwritten)?);
    let unpacked = unpack(archive, destination.files, budget, mark_opaque)?;
    let is_whole = archive.finish_framing().map_err(unwritten)?.unwrap_or(false);
    let is_recorded = is_whole && !unpacked.lossy;
    Ok((unpacked, is_recorded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_that_others_would_wait_for_has_a_thread_of_its_own() {
        const MANY: u64 = 100 << 20;
        for (processors, blobs, size, total, expected) in [
            (2, 1, 10, 10, true),
            (2, 2, 10, 15, false),
            (2, 6, LARGE_BLOB - 1, LARGE_BLOB, false),
            (2, 6, LARGE_BLOB, 2 * LARGE_BLOB, false),
            (2, 6, LARGE_BLOB, 2 * LARGE_BLOB - 1, true),
            (2, 3, MANY * 37 / 100, MANY, false),
            (2, 3, MANY * 60 / 100, MANY, true),
            (4, 6, MANY * 37 / 100, MANY, true),
            (1, 1, LARGE_BLOB, LARGE_BLOB, false),
            (8, 7, 10, 70, true),
            (2, 2, u64::MAX, u64::MAX, true),
        ] {
            let found = Means::is_worth_a_thread(processors, blobs, size, total);
            assert_eq!(found, expected, "{processors} {blobs} {size} {total}");
        }
    }
}
