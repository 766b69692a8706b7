//! Into a registry.

use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering};

use loam_model::{Digest, DigestAlgorithm, Failure, Result};
use loam_registry::{Bytes, Client, Piece, Reference, RegistryError, Upload};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Destination;
use super::blobs::Incoming;
use crate::document::{Descriptor, RawDocument, unsupported};
use crate::error::{invalid, unwrap_io};
use crate::intake::{Blob, Intake, Promise};
use crate::threads;

/// How many blobs are sent at once.
const LANES: usize = 3;
/// Pieces that wait between the source and the network.
const QUEUE: usize = 8;

/// A repository that an image goes into.
pub(super) struct ToRegistry<'a> {
    pub(super) client: Client,
    pub(super) runtime: &'a Runtime,
    pub(super) reference: Reference,
    /// The repository of the same registry that the image comes from.
    pub(super) from: Option<String>,
}

impl ToRegistry<'_> {
    fn push(&self, reference: &Reference, document: &RawDocument) -> Result<()> {
        // A registry is told no digest of a document: it makes one of its own.
        if document.digest.algorithm() != DigestAlgorithm::Sha256 {
            return Err(unsupported(format!(
                "the manifest `{}` can't be kept by a registry",
                document.digest
            )));
        }
        let pushed = self.client.push_manifest(reference, &document.media_type, &document.bytes);
        let digest = self.runtime.block_on(pushed).map_err(RegistryError::into_failure)?;
        if digest != document.digest {
            let message = format!("the registry took the manifest `{}` for `{digest}`", document.digest);
            return Err(Failure::new(loam_model::ErrorKind::Unavailable, message));
        }
        Ok(())
    }
}

impl Destination for ToRegistry<'_> {
    fn lanes(&self) -> usize {
        LANES
    }

    fn has(&self, blob: &Descriptor) -> Result<bool> {
        let (client, reference, digest) = (&self.client, &self.reference, &blob.digest);
        let asked = self.runtime.block_on(async {
            if client.has_blob(reference, digest).await? {
                return Ok(true);
            }
            let Some(from) = &self.from else { return Ok(false) };
            match client.mount_blob(reference, digest, from).await {
                Ok(mounted) => Ok(mounted),
                // It is a shorter way, and no condition.
                Err(error) => {
                    tracing::debug!(%error, from, "a blob can't be had from another repository");
                    Ok(false)
                }
            }
        });
        asked.map_err(RegistryError::into_failure)
    }

    fn put(&self, blob: &Descriptor, incoming: &Incoming<'_>) -> Result<()> {
        let passing = Passing { incoming, sent: AtomicU64::new(0) };
        let what = format!("layer {}", blob.digest.short());
        let pushed = self.runtime.block_on(self.client.push_blob(&self.reference, &passing, &what));
        pushed.map(drop).map_err(RegistryError::into_failure)
    }

    fn document(&self, document: &RawDocument) -> Result<()> {
        let name = format!("{}@{}", self.reference.name(), document.digest);
        self.push(&crate::names::reference(&name)?, document)
    }

    fn finish(self: Box<Self>, top: &RawDocument) -> Result<Digest> {
        self.push(&self.reference, top)?;
        Ok(top.digest.clone())
    }
}

/// A blob that passes from its source into the registry.
struct Passing<'a> {
    incoming: &'a Incoming<'a>,
    sent: AtomicU64,
}

impl Upload for Passing<'_> {
    fn open(&self, skip: u64) -> Receiver<Piece> {
        let (sender, pieces) = channel(QUEUE);
        match self.incoming.open() {
            Ok((blob, promise)) => {
                let failing = sender.clone();
                if let Err(failure) = threads::detach(move || pass(blob, promise, skip, &sender)) {
                    failing.try_send(Piece::Failed(failure)).ok();
                }
            }
            // There is room for one.
            Err(failure) => drop(sender.try_send(Piece::Failed(failure))),
        }
        pieces
    }

    fn sent(&self, bytes: u64) {
        self.incoming.advanced(self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }
}

/// Hands a blob over, and says at its end what it was: the registry is never told a digest that the bytes do not have.
/// When nobody listens any more, nobody wants the failure either.
fn pass(blob: Box<dyn Blob>, promise: Promise, skip: u64, sender: &Sender<Piece>) {
    let last = match hand_over(blob, promise, skip, sender) {
        Ok(Some(end)) => end,
        Ok(None) => return,
        Err(failure) => Piece::Failed(failure),
    };
    sender.blocking_send(last).ok();
}

fn hand_over(
    blob: Box<dyn Blob>,
    promise: Promise,
    mut skip: u64,
    sender: &Sender<Piece>,
) -> Result<Option<Piece>> {
    let Promise { digest: Some(digest), size: Some(size) } = promise.clone() else {
        return Err(invalid("the blob has no digest"));
    };
    let mut intake = Intake::new(blob, promise, &|_| {});
    loop {
        let piece = intake.fill_buf().map_err(|error| unwrap_io(error, String::new))?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(length);
        skip -= skipped as u64;
        let rest = Bytes::copy_from_slice(&piece[skipped..]);
        intake.consume(length);
        if !rest.is_empty() && sender.blocking_send(Piece::Bytes(rest)).is_err() {
            return Ok(None);
        }
    }
    intake.finish()?;
    Ok(Some(Piece::End { digest, size }))
}
