//! A blob that is kept in part as it comes, for the pull after one that is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use loam_model::Result;
use loam_registry::Bytes;

use crate::intake::Blob;
use crate::partial::Partial;

/// What comes so fast that all of it is here within this time is not kept: fetching it again takes no longer.
const SHORT: Duration = Duration::from_secs(10);
/// How fast it comes is known after so many bytes, which are in memory until then, or after so long.
const BEGINNING: (usize, Duration) = (4 << 20, Duration::from_secs(1));

/// An attempt at a blob that is kept in part.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Whether it began with what an earlier pull had left.
    resumed: bool,
    /// Whether the transfer failed, rather than what came of it.
    broke: AtomicBool,
}

impl Attempt {
    pub(super) fn new(partial: &Partial) -> Self {
        Self { resumed: partial.found() > 0, broke: AtomicBool::new(false) }
    }

    pub(super) fn resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn has_broken(&self) -> bool {
        self.broke.load(Ordering::Relaxed)
    }
}

/// Begins with what an earlier pull has left.
pub(super) struct Kept<T> {
    partial: Partial,
    transfer: T,
    attempt: Arc<Attempt>,
    size: u64,
    keeping: Keeping,
}

enum Keeping {
    /// It is not known yet how fast the blob comes.
    Undecided(Beginning),
    Yes,
    /// It comes too fast, or all of it has come.
    No,
}

/// What has come, and the time since the first of it.
#[derive(Default)]
struct Beginning {
    since: Option<Instant>,
    pieces: Vec<Bytes>,
    length: usize,
}

impl<T: Blob> Kept<T> {
    pub(super) fn new(partial: Partial, transfer: T, attempt: Arc<Attempt>, size: u64) -> Self {
        // What has been worth it once is so again.
        let keeping = if attempt.resumed { Keeping::Yes } else { Keeping::Undecided(Beginning::default()) };
        Self { partial, transfer, attempt, size, keeping }
    }

    fn keep(&mut self, piece: &Bytes) {
        match &mut self.keeping {
            Keeping::No => {}
            Keeping::Yes => self.partial.keep(piece),
            Keeping::Undecided(beginning) => {
                let elapsed = beginning.since.get_or_insert_with(Instant::now).elapsed();
                beginning.length += piece.len();
                beginning.pieces.push(piece.clone());
                if beginning.length < BEGINNING.0 && elapsed < BEGINNING.1 {
                    return;
                }
                if is_short(self.size, beginning.length, elapsed) {
                    self.partial.discard();
                    self.keeping = Keeping::No;
                } else {
                    beginning.pieces.iter().for_each(|piece| self.partial.keep(piece));
                    self.keeping = Keeping::Yes;
                }
            }
        }
    }
}

/// Whether a blob of so many bytes, of which so many have come in this time, takes no longer than [`SHORT`] altogether.
fn is_short(size: u64, length: usize, elapsed: Duration) -> bool {
    u128::from(size) * elapsed.as_micros() <= length as u128 * SHORT.as_micros()
}

impl<T: Blob> Blob for Kept<T> {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let before = self.partial.next().map_err(|error| {
            crate::error::failed("what an earlier pull has left of a blob can't be read", error)
        })?;
        if !before.is_empty() {
            return Ok(Some(Bytes::from(before)));
        }
        let next = self.transfer.next();
        match &next {
            Ok(Some(piece)) => self.keep(piece),
            Ok(None) => {
                // It is all there, and becomes a layer, or is not the right blob.
                self.partial.discard();
                self.keeping = Keeping::No;
            }
            Err(_) => self.attempt.broke.store(true, Ordering::Relaxed),
        }
        next
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Keeping::Undecided(_) = self.keeping {
            self.partial.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use loam_model::{ErrorKind, Failure};

    use super::*;
    use crate::partial::SMALLEST;
    use crate::staging::Places;

    /// Gives pieces of so many bytes, each after a pause.
    struct Line {
        pieces: usize,
        length: usize,
        pause: Duration,
    }

    impl Blob for Line {
        fn next(&mut self) -> Result<Option<Bytes>> {
            if self.pieces == 0 {
                return Err(Failure::new(ErrorKind::Unavailable, "the line is dead"));
            }
            self.pieces -= 1;
            std::thread::sleep(self.pause);
            Ok(Some(Bytes::from(vec![1; self.length])))
        }
    }

    /// The bytes that are there after a transfer that broke; none without a file.
    fn left_by(line: Line) -> Option<u64> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let places = Places { root: directory.path().to_owned() };
        let digest = crate::hashing::sha256(b"blob");
        let partial = Partial::open(&places, &digest, SMALLEST).expect("begun");
        let attempt = Arc::new(Attempt::new(&partial));
        let mut kept = Kept::new(partial, line, Arc::clone(&attempt), SMALLEST);
        while kept.next().is_ok() {}
        drop(kept);
        assert!(attempt.has_broken());
        std::fs::metadata(places.partial().join(digest.hex())).ok().map(|found| found.len())
    }

    #[test]
    fn only_what_comes_slowly_is_kept() {
        let fast = Line { pieces: 20, length: 1 << 20, pause: Duration::ZERO };
        assert_eq!(left_by(fast), None, "it would have been here at once");
        let slow = Line { pieces: 3, length: 1000, pause: Duration::from_millis(600) };
        assert_eq!(left_by(slow), Some(3000), "with what came before that was known");
        let broken = Line { pieces: 2, length: 1000, pause: Duration::ZERO };
        assert_eq!(left_by(broken), None, "it is not known yet");
    }

    #[test]
    fn ten_seconds_are_the_limit() {
        assert!(is_short(100, 10, Duration::from_secs(1)));
        assert!(!is_short(101, 10, Duration::from_secs(1)));
        assert!(is_short(u64::MAX, 1, Duration::ZERO));
    }
}
