//! The blobs of an image on their way, several at a time, each held against its digest and size.

use std::io::BufRead;
use std::sync::{Mutex, PoisonError};

use loam_model::{ErrorKind, Failure, LayerProgress, PullProgress, Result};

use super::Destination;
use super::graph::Part;
use crate::document::Descriptor;
use crate::error::unwrap_io;
use crate::error::wrap;
use crate::intake::{Blob, Intake, Promise};
use crate::source::Source;
use crate::threads::share;

/// A blob that a destination is to take.
pub(super) struct Incoming<'a> {
    place: &'a dyn Source,
    part: &'a Part,
    progress: &'a dyn PullProgress,
}

impl Incoming<'_> {
    /// Opens the blob, and says what its bytes have to come to.
    pub(super) fn open(&self) -> Result<(Box<dyn Blob>, Promise)> {
        let blob = &self.part.blob;
        let (bytes, _) = self.place.blob(blob)?;
        Ok((bytes, Promise { digest: Some(blob.digest.clone()), size: Some(blob.size) }))
    }

    /// Hears that so many bytes have passed in all.
    pub(super) fn advanced(&self, bytes: u64) {
        if !self.part.is_config {
            self.progress.layer(&self.part.blob.digest, LayerProgress::Advanced { bytes });
        }
    }

    /// Hands all bytes to `take`, which has to give back what it made of them. What it is given is held against the digest
    /// before that counts.
    pub(super) fn read<T>(&self, take: impl FnOnce(&mut Intake<'_>) -> Result<T>) -> Result<T> {
        let heard = |bytes: u64| self.advanced(bytes);
        let (blob, promise) = self.open()?;
        let mut intake = Intake::new(blob, promise, &heard);
        let taken = take(&mut intake);
        match taken {
            // Bytes that make no sense are most often not the right bytes; that is then the truer cause.
            Err(failure) if failure.kind() == ErrorKind::Invalid => {
                Err(intake.finish().err().unwrap_or(failure))
            }
            Err(failure) => Err(failure),
            Ok(taken) => intake.finish().map(|_| taken),
        }
    }

    /// Hands the bytes over piece by piece.
    pub(super) fn pieces(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.read(|intake| {
            loop {
                let piece = intake.fill_buf().map_err(|error| unwrap_io(error, String::new))?;
                if piece.is_empty() {
                    return Ok(());
                }
                take(piece)?;
                let count = piece.len();
                intake.consume(count);
            }
        })
    }
}

/// Sees to it that the destination has all blobs.
pub(super) fn copy(
    place: &dyn Source,
    destination: &dyn Destination,
    parts: &[Part],
    progress: &dyn PullProgress,
) -> Result<()> {
    let lanes = destination.lanes().min(parts.len());
    let (queue, failure) = (Mutex::new(parts.iter()), Mutex::new(None::<Failure>));
    let work = || loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(part) = next else { return };
        if let Err(error) = copy_one(&Incoming { place, part, progress }, destination) {
            // Nothing else is begun.
            *queue.lock().unwrap_or_else(PoisonError::into_inner) = [].iter();
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    share(lanes, work);
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn copy_one(incoming: &Incoming<'_>, destination: &dyn Destination) -> Result<()> {
    let Part { blob, is_config } = incoming.part;
    let tell = |progress| {
        if !is_config {
            incoming.progress.layer(&blob.digest, progress);
        }
    };
    if destination.has(blob)? {
        tell(LayerProgress::Present);
        return Ok(());
    }
    tell(LayerProgress::Started { size: blob.size });
    destination
        .put(blob, incoming)
        .map_err(|failure| wrap(failure, &format!("the blob `{}` can't be copied", shown(blob))))?;
    tell(LayerProgress::Done);
    Ok(())
}

fn shown(blob: &Descriptor) -> String {
    blob.digest.to_string()
}
