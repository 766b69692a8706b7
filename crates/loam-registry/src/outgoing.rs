//! The bodies of uploads: bytes from a channel, so that blocking threads can make them while they are sent.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use loam_model::{Digest, Failure};
use tokio::sync::mpsc;

use crate::transport::lock;

/// A part of what is uploaded. The end is a message of its own, so that a maker that was torn down is not taken for
/// the end of what it made.
#[derive(Debug)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// All was given, and this is what it is as a whole.
    End {
        /// The digest of all bytes.
        digest: Digest,
        /// How many they are.
        size: u64,
    },
    /// It can't be made.
    Failed(Failure),
}

/// What became of the pieces that were sent.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The digest and the size of the whole, when the end was reached.
    pub(crate) whole: Option<(Digest, u64)>,
    /// Why it could not be made.
    pub(crate) failure: Option<Failure>,
}

/// A body to send.
pub(crate) struct Outgoing {
    body: Mutex<Option<reqwest::Body>>,
    sent: Arc<AtomicU64>,
    outcome: Arc<Mutex<Outcome>>,
}

impl Outgoing {
    /// Sends what comes from a channel.
    pub(crate) fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        let (sent, outcome) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Outcome>>::default());
        let pieces = Pieces { pieces, sent: Arc::clone(&sent), outcome: Arc::clone(&outcome), ended: false };
        Self { body: Mutex::new(Some(reqwest::Body::wrap(pieces))), sent, outcome }
    }

    /// The body; an empty one when it was taken before.
    pub(crate) fn take(&self) -> reqwest::Body {
        lock(&self.body).take().unwrap_or_else(|| reqwest::Body::from(""))
    }

    /// How many bytes were taken of it.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What became of it.
    pub(crate) fn outcome(&self) -> Outcome {
        std::mem::take(&mut *lock(&self.outcome))
    }
}

struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    sent: Arc<AtomicU64>,
    outcome: Arc<Mutex<Outcome>>,
    ended: bool,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pieces").finish_non_exhaustive()
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = match self.pieces.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        self.ended = !matches!(piece, Some(Piece::Bytes(_)));
        Poll::Ready(match piece {
            Some(Piece::Bytes(bytes)) => {
                self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Some(Ok(Frame::data(bytes)))
            }
            Some(Piece::End { digest, size }) => {
                lock(&self.outcome).whole = Some((digest, size));
                None
            }
            Some(Piece::Failed(failure)) => {
                let error = io::Error::other(failure.to_string());
                lock(&self.outcome).failure = Some(failure);
                Some(Err(error))
            }
            None => Some(Err(io::Error::other("what is sent was given up"))),
        })
    }
}
