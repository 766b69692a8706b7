//! A blob in parts over several connections, given in order.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use super::What;
use super::range::RangeStream;
use crate::error::RegistryError;

/// How many parts are on their way at once.
pub(super) const CONNECTIONS: usize = 3;
/// The length of a part, in bytes.
pub(super) const LENGTH: u64 = 2 * 1024 * 1024;

/// Parts on their way. Dropping it ends their transfers.
pub(super) struct Parts {
    what: What,
    /// The part that is being given, and those after it.
    window: VecDeque<Part>,
    /// Where the part begins that nobody has asked for yet.
    next: u64,
    tasks: JoinSet<()>,
}

/// A part that a task fetches. The channel has no bound of its own: no more than the part comes through it.
struct Part {
    pieces: UnboundedReceiver<Result<Bytes, RegistryError>>,
    left: u64,
}

impl Parts {
    /// Begins with this part.
    pub(super) fn new(what: What, first: RangeStream) -> Self {
        let mut parts = Self { what, window: VecDeque::new(), next: first.end(), tasks: JoinSet::new() };
        parts.fetch(first);
        parts.fill();
        parts
    }

    /// The next bytes; `None` at the end. After an error the rest is to be had by other means.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        loop {
            let part = self.window.front_mut()?;
            match part.pieces.recv().await {
                Some(Ok(bytes)) => {
                    part.left = part.left.saturating_sub(bytes.len() as u64);
                    return Some(Ok(bytes));
                }
                Some(Err(error)) => return Some(Err(error)),
                None if part.left == 0 => {
                    self.window.pop_front();
                    self.fill();
                }
                None => {
                    let host =
                        self.what.places.last().map(|place| place.host().to_owned()).unwrap_or_default();
                    let source = "the transfer of a part was given up".into();
                    return Some(Err(RegistryError::Broken { host, source }));
                }
            }
        }
    }

    /// Asks for further parts, as many as may be on their way.
    fn fill(&mut self) {
        while self.window.len() < CONNECTIONS && self.next < self.what.size {
            let end = self.what.size.min(self.next + LENGTH);
            let stream = RangeStream::unopened(self.what.clone(), self.next..end);
            self.next = end;
            self.fetch(stream);
        }
        // Tasks that have ended are forgotten.
        while self.tasks.try_join_next().is_some() {}
    }

    fn fetch(&mut self, stream: RangeStream) {
        let (sender, pieces) = mpsc::unbounded_channel();
        self.window.push_back(Part { pieces, left: stream.left() });
        self.tasks.spawn(run(stream, sender));
    }
}

async fn run(mut stream: RangeStream, sender: UnboundedSender<Result<Bytes, RegistryError>>) {
    while let Some(piece) = stream.next().await {
        if sender.send(piece).is_err() {
            return;
        }
    }
}
