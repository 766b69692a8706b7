//! A layer on its way into a registry: packed and compressed by a thread of its own while it is sent.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use loam_model::{Digest, DigestAlgorithm, LayerProgress, PullProgress, Result};
use loam_registry::{Bytes, Piece, Upload};
use loam_unpack::Reassembled;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::hashing::Hasher;
use crate::pack::pack;
use crate::threads;

/// Pieces that wait between the thread that packs and the network.
const QUEUE: usize = 8;
/// How long a piece is, in bytes.
const PIECE: usize = 128 * 1024;

/// A layer to be packed.
pub(super) struct PackedLayer<'a> {
    /// The layer's directory.
    pub(super) root: OwnedFd,
    /// What its tar had beside the files' data, when that is known: then the tar becomes what it was.
    pub(super) split: Option<PathBuf>,
    /// The algorithm of its diff id.
    pub(super) algorithm: DigestAlgorithm,
    /// The layer as progress names it.
    pub(super) shown: &'a Digest,
    pub(super) progress: &'a dyn PullProgress,
    sent: AtomicU64,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    threads: Vec<JoinHandle<Option<Digest>>>,
    diff_id: Option<Digest>,
}

impl<'a> PackedLayer<'a> {
    pub(super) fn new(
        root: OwnedFd,
        split: Option<PathBuf>,
        algorithm: DigestAlgorithm,
        shown: &'a Digest,
        progress: &'a dyn PullProgress,
    ) -> Self {
        Self { root, split, algorithm, shown, progress, sent: AtomicU64::new(0), work: Mutex::default() }
    }

    /// The diff id of what was packed: that of the last time that it was packed to the end.
    pub(super) fn diff_id(&self) -> Option<Digest> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in std::mem::take(&mut work.threads) {
            if let Some(diff_id) = thread.join().expect("packing does not panic") {
                work.diff_id = Some(diff_id);
            }
        }
        work.diff_id.clone()
    }
}

impl Upload for PackedLayer<'_> {
    fn open(&self, skip: u64) -> Receiver<Piece> {
        let (sender, pieces) = channel(QUEUE);
        let algorithm = self.algorithm;
        match self.root.try_clone() {
            Ok(root) => {
                let (split, failing) = (self.split.clone(), sender.clone());
                match threads::detach(move || run(root, split, algorithm, skip, &sender)) {
                    Ok(thread) => {
                        self.work.lock().unwrap_or_else(PoisonError::into_inner).threads.push(thread);
                    }
                    // There is room for one.
                    Err(failure) => drop(failing.try_send(Piece::Failed(failure))),
                }
            }
            Err(error) => {
                let failure = crate::error::failed("the layer can't be opened", error);
                // There is room for one.
                sender.try_send(Piece::Failed(failure)).ok();
            }
        }
        pieces
    }

    fn sent(&self, bytes: u64) {
        let bytes = self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.layer(self.shown, LayerProgress::Advanced { bytes });
    }
}

/// Packs the layer; gives its diff id when it got to the end and was listened to.
fn run(
    root: OwnedFd,
    split: Option<PathBuf>,
    algorithm: DigestAlgorithm,
    skip: u64,
    sender: &Sender<Piece>,
) -> Option<Digest> {
    let blob = Blob {
        hasher: Hasher::new(DigestAlgorithm::Sha256),
        size: 0,
        skip,
        piece: Vec::with_capacity(PIECE),
        sender,
    };
    let archive =
        Archive { hasher: Hasher::new(algorithm), inner: GzEncoder::new(blob, Compression::new(6)) };
    // Small writes, of which an archive has many, cost the hash and the compressor more than one large one.
    let buffered = io::BufWriter::with_capacity(PIECE, archive);
    let packed = match split {
        Some(split) => put_together(&split, root, buffered),
        None => pack(&root, buffered),
    };
    let packed = packed.and_then(|buffered| {
        let finish = || -> io::Result<(Digest, Digest, u64)> {
            let archive = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
            let mut blob = archive.inner.finish()?;
            blob.send()?;
            Ok((archive.hasher.finish(), blob.hasher.finish(), blob.size))
        };
        finish().map_err(|error| crate::error::failed("the layer can't be packed", error))
    });
    match packed {
        Ok((diff_id, digest, size)) => {
            sender.blocking_send(Piece::End { digest, size }).ok()?;
            Some(diff_id)
        }
        // When nobody listens any more, nobody wants the failure either.
        Err(failure) => {
            sender.blocking_send(Piece::Failed(failure)).ok();
            None
        }
    }
}

/// Writes the tar as it came, and gives the writer back.
fn put_together<W: Write>(split: &Path, root: OwnedFd, mut writer: W) -> Result<W> {
    let copied = File::open(split)
        .and_then(|record| Reassembled::new(record, root))
        .and_then(|mut tar| io::copy(&mut tar, &mut writer));
    copied.map_err(|error| crate::error::failed("the layer can't be packed", error))?;
    Ok(writer)
}

/// The uncompressed archive passing by.
struct Archive<W: Write> {
    hasher: Hasher,
    inner: GzEncoder<W>,
}

impl<W: Write> Write for Archive<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The compressed blob passing by.
struct Blob<'a> {
    hasher: Hasher,
    size: u64,
    /// How many bytes the registry has already.
    skip: u64,
    piece: Vec<u8>,
    sender: &'a Sender<Piece>,
}

impl Blob<'_> {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        if piece.is_empty() {
            return Ok(());
        }
        let sent = self.sender.blocking_send(Piece::Bytes(Bytes::from(piece)));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the transfer was given up"))
    }
}

impl Write for Blob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        self.piece.extend_from_slice(&bytes[skipped..]);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are there already, such as a configuration.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
}

impl Upload for Whole {
    fn open(&self, skip: u64) -> Receiver<Piece> {
        let (sender, pieces) = channel(2);
        let size = self.bytes.len() as u64;
        let rest = self.bytes.slice(usize::try_from(skip.min(size)).unwrap_or(usize::MAX)..);
        for piece in [Piece::Bytes(rest), Piece::End { digest: self.digest.clone(), size }] {
            // There is room for both.
            sender.try_send(piece).ok();
        }
        pieces
    }

    fn sent(&self, _bytes: u64) {}
}
