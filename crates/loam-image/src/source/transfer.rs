//! A transfer that a task does, as a blob for a thread that blocks.

use loam_model::{ErrorKind, Failure, Result};
use loam_registry::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::intake::Blob;

/// Pieces that wait between the network and the thread that unpacks.
const QUEUE: usize = 8;

/// Takes the pieces of a transfer; `None` is its end.
pub(super) type Sender = mpsc::Sender<Result<Option<Bytes>>>;

/// A blob on its way. Dropping it ends the transfer. The end is a message of its own, so that a transfer that was torn
/// down is not taken for a short blob.
pub(super) struct Transfer {
    pieces: mpsc::Receiver<Result<Option<Bytes>>>,
    task: JoinHandle<()>,
    ended: bool,
}

impl Transfer {
    /// Starts a task that sends the pieces, and after the last one nothing.
    pub(super) fn spawn<F>(runtime: &Runtime, work: impl FnOnce(Sender) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(QUEUE);
        Self { pieces, task: runtime.spawn(work(sender)), ended: false }
    }
}

impl Blob for Transfer {
    fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) if piece.is_empty() => {}
                Some(Ok(Some(piece))) => return Ok(Some(piece)),
                Some(Ok(None)) => self.ended = true,
                Some(Err(failure)) => {
                    self.ended = true;
                    return Err(failure);
                }
                None => {
                    return Err(Failure::new(ErrorKind::Unavailable, "the transfer was given up"));
                }
            }
        }
        Ok(None)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
