//! Whether the helper gets on.
//!
//! One that the bytes have got the better of could take no more of them and say nothing, for ever. How long an honest one
//! needs for a layer nobody knows; but it takes bytes, asks for space, or waits for bytes that have not come.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long a helper that has bytes to take may do nothing. A slow disk that writes back what it holds takes seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// What the one who feeds the helper has seen.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    taken: AtomicU64,
    at_source: AtomicBool,
}

impl Pulse {
    /// Does what takes as long as the blob's source likes.
    pub(super) fn at_source<T>(&self, work: impl FnOnce() -> T) -> T {
        self.at_source.store(true, Ordering::Relaxed);
        let done = work();
        self.at_source.store(false, Ordering::Relaxed);
        done
    }

    /// The helper has taken some bytes.
    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until the helper says something; `false` when it neither says nor takes anything for that long.
    pub(super) fn wait_for(&self, control: BorrowedFd<'_>, patience: Duration) -> Result<bool, Errno> {
        let limit = Timespec::try_from(patience).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        loop {
            let before = self.taken.load(Ordering::Relaxed);
            match poll(&mut [PollFd::from_borrowed_fd(control, PollFlags::IN)], Some(&limit)) {
                Ok(0) => {}
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            if self.taken.load(Ordering::Relaxed) == before && !self.at_source.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn only_one_that_could_get_on_and_does_not_is_given_up() {
        let (ours, theirs) = loam_packet::pair().expect("a pair");
        let (pulse, brief) = (Pulse::default(), Duration::from_millis(20));
        assert_eq!(pulse.wait_for(ours.as_fd(), brief), Ok(false));
        std::thread::scope(|scope| {
            let waiting = pulse.at_source(|| {
                let waiting = scope.spawn(|| pulse.wait_for(ours.as_fd(), brief));
                assert!(!ends_within(&waiting, 10 * brief), "the source may be slow");
                waiting
            });
            assert_eq!(waiting.join().expect("no panic"), Ok(false));
        });
        loam_packet::send(theirs.as_fd(), &"a word", &[]).expect("sent");
        assert_eq!(pulse.wait_for(ours.as_fd(), brief), Ok(true));
    }

    /// Whether the thread ends within a time.
    fn ends_within<T>(thread: &std::thread::ScopedJoinHandle<'_, T>, limit: Duration) -> bool {
        let begun = std::time::Instant::now();
        while begun.elapsed() < limit && !thread.is_finished() {
            std::thread::yield_now();
        }
        thread.is_finished()
    }
}
