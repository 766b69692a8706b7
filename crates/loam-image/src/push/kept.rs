//! A layer that was kept as it came, on its way into a registry again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use loam_model::{Digest, LayerProgress, PullProgress};
use loam_registry::{Bytes, Piece, Upload};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::hashing::Hasher;
use crate::threads;

/// Pieces that wait between the thread that reads and the network.
const QUEUE: usize = 8;
/// How long a piece is, in bytes.
const PIECE: usize = 128 * 1024;

/// A layer's blob in a file.
pub(super) struct KeptBlob<'a> {
    pub(super) file: PathBuf,
    pub(super) digest: &'a Digest,
    pub(super) progress: &'a dyn PullProgress,
    sent: AtomicU64,
}

impl<'a> KeptBlob<'a> {
    pub(super) fn new(file: PathBuf, digest: &'a Digest, progress: &'a dyn PullProgress) -> Self {
        Self { file, digest, progress, sent: AtomicU64::new(0) }
    }
}

impl Upload for KeptBlob<'_> {
    fn open(&self, skip: u64) -> Receiver<Piece> {
        let (sender, pieces) = channel(QUEUE);
        let (file, digest) = (self.file.clone(), self.digest.clone());
        let failing = sender.clone();
        // It ends with the file, or when nobody listens any more.
        let reading = threads::detach(move || {
            if let Err(error) = read(&file, &digest, skip, &sender) {
                let what = format!("the blob `{}` can't be read", file.display());
                sender.blocking_send(Piece::Failed(crate::error::failed(what, error))).ok();
            }
        });
        if let Err(failure) = reading {
            // There is room for one.
            failing.try_send(Piece::Failed(failure)).ok();
        }
        pieces
    }

    fn sent(&self, bytes: u64) {
        let bytes = self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.layer(self.digest, LayerProgress::Advanced { bytes });
    }
}

/// Reads the file from an offset. The digest is computed anew when all of it is read, so that damage is not passed on.
fn read(path: &Path, digest: &Digest, skip: u64, sender: &Sender<Piece>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new(digest.algorithm());
    if skip > 0 {
        let mut before = Read::by_ref(&mut file).take(skip);
        let mut piece = vec![0; PIECE];
        loop {
            match before.read(&mut piece)? {
                0 => break,
                count => hasher.update(&piece[..count]),
            }
        }
    }
    let mut size = file.seek(SeekFrom::Start(skip))?;
    loop {
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        piece.truncate(count);
        hasher.update(&piece);
        size += count as u64;
        if sender.blocking_send(Piece::Bytes(Bytes::from(piece))).is_err() {
            return Ok(());
        }
    }
    sender.blocking_send(Piece::End { digest: hasher.finish(), size }).ok();
    Ok(())
}
