//! The lock of a layer that is being fetched, and how long others wait for it.
//!
//! Who holds a lock has proven nothing yet: the diff id is what a manifest claims. So the holder shows that its pull gets
//! on, by the time of the lock's file, and who waits does so only as long as it sees that, and no longer than the
//! layer is worth. Then it fetches the layer as well; the commit keeps the first copy.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use loam_model::{Digest, Result};
use rustix::fs::{FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::error::failed;
use crate::staging::{Places, entries, is_at, make_directory};

/// After so many bytes a holder shows that it gets on.
const BEAT: u64 = 1 << 20;
/// How long is waited for each byte of a layer at the most: as long as a transfer of 256 KiB a second takes.
const LEAST_RATE: u64 = 256 * 1024;
/// The first and the longest pause between two looks at a lock.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Held while one process fetches a layer, so that others wait for it. Dropping removes the file.
#[derive(Debug)]
pub(crate) struct LayerLock {
    path: PathBuf,
    file: Arc<OwnedFd>,
}

/// How long to wait for a lock that another has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting<'a> {
    /// The longest time without a sign that the holder gets on; zero is not to wait at all.
    pub(crate) silence: Duration,
    /// The longest time altogether.
    pub(crate) longest: Duration,
    /// Ends the waiting when it becomes true.
    pub(crate) stop: &'a AtomicBool,
}

impl<'a> Waiting<'a> {
    /// For a layer of so many compressed bytes.
    pub(crate) fn for_layer(size: u64, silence: Duration, stop: &'a AtomicBool) -> Self {
        Self { silence, longest: silence.saturating_add(Duration::from_secs(size / LEAST_RATE)), stop }
    }
}

impl LayerLock {
    /// Takes the lock of a layer; `waiting` is called when another holds it. `None` when it was waited for long
    /// enough.
    pub(crate) fn take(
        places: &Places,
        diff_id: &Digest,
        wait: Waiting<'_>,
        waiting: impl FnOnce(),
    ) -> Result<Option<Self>> {
        let directory = places.locks();
        let path = directory.join(diff_id.hex());
        let what = |error: Errno| failed(format!("the lock `{}` can't be taken", path.display()), error);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut waiting = Some(waiting);
        let begun = Instant::now();
        loop {
            let file = match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file,
                Err(Errno::NOENT) => {
                    make_directory(&directory)?;
                    continue;
                }
                Err(error) => return Err(what(error)),
            };
            if !try_lock(&file).map_err(what)? {
                if !wait.silence.is_zero() {
                    waiting.take().into_iter().for_each(|waiting| waiting());
                }
                if !lock_patiently(&file, wait, begun).map_err(what)? {
                    return Ok(None);
                }
            }
            // The holder before may have removed the file while this one waited.
            if is_at(&file, &path) {
                return Ok(Some(Self { path, file: Arc::new(file) }));
            }
        }
    }

    /// Shows those who wait that this pull gets on.
    pub(crate) fn beat(&self) {
        beat(&self.file);
    }
}

impl Drop for LayerLock {
    fn drop(&mut self) {
        // While the lock is held nobody else removes it; whoever waits finds out by `is_at`.
        fs::remove_file(&self.path).ok();
        rustix::fs::flock(&*self.file, FlockOperation::Unlock).ok();
    }
}

/// Removes the files of locks whose holders were killed.
pub(crate) fn sweep(places: &Places) {
    for path in entries(&places.locks()) {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()) else { continue };
        // Whoever waits for it finds out by `is_at`, as when a holder removes it.
        if matches!(try_lock(&file), Ok(true)) && is_at(&file, &path) {
            fs::remove_file(&path).ok();
        }
    }
}

/// The locks that a pull holds, and what has come so far of all its layers: what gets on is the pull, not a layer.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    bytes: AtomicU64,
    locks: Mutex<Vec<Weak<OwnedFd>>>,
}

impl Heartbeat {
    pub(crate) fn add(&self, lock: &LayerLock) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.push(Arc::downgrade(&lock.file));
    }

    /// Notes that so many bytes more have come.
    pub(crate) fn advance(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / BEAT == (before + bytes) / BEAT {
            return;
        }
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.iter().filter_map(Weak::upgrade).for_each(|file| beat(&file));
    }
}

fn beat(file: &OwnedFd) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    // Without it others only wait less long.
    rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now }).ok();
}

fn try_lock(file: &OwnedFd) -> rustix::io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for a lock; false when it was waited for long enough.
fn lock_patiently(file: &OwnedFd, wait: Waiting<'_>, begun: Instant) -> rustix::io::Result<bool> {
    let mut watch = Watch { wait, beat: last_beat(file)?, since: begun.elapsed() };
    let mut pause = PAUSES.0;
    loop {
        if watch.is_over(last_beat(file)?, begun.elapsed()) {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
        if try_lock(file)? {
            return Ok(true);
        }
    }
}

fn last_beat(file: &OwnedFd) -> rustix::io::Result<(i64, u64)> {
    rustix::fs::fstat(file).map(|stat| (stat.st_mtime, stat.st_mtime_nsec))
}

/// What somebody who waits has seen of the holder.
struct Watch<'a> {
    wait: Waiting<'a>,
    beat: (i64, u64),
    /// When that was first seen, counted from the beginning.
    since: Duration,
}

impl Watch<'_> {
    fn is_over(&mut self, beat: (i64, u64), now: Duration) -> bool {
        if beat != self.beat {
            (self.beat, self.since) = (beat, now);
        }
        let silent = now.saturating_sub(self.since) >= self.wait.silence;
        silent || now >= self.wait.longest || self.wait.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_gets_on_is_waited_for_and_not_for_ever() {
        let stop = AtomicBool::new(false);
        let seconds = Duration::from_secs;
        let wait = Waiting::for_layer(100 * LEAST_RATE, seconds(30), &stop);
        let watch = || Watch { wait, beat: (0, 0), since: Duration::ZERO };
        let mut silent = watch();
        assert!(!silent.is_over((0, 0), seconds(29)));
        assert!(silent.is_over((0, 0), seconds(30)));
        let mut alive = watch();
        for (now, beat) in [(25, 1), (50, 1), (75, 2), (104, 2), (120, 3), (129, 3)] {
            assert!(!alive.is_over((beat, 0), seconds(now)), "{now}");
        }
        assert!(alive.is_over((4, 0), seconds(130)), "longer than the layer is worth");
        stop.store(true, Ordering::Relaxed);
        assert!(watch().is_over((0, 0), Duration::ZERO), "the pull was given up");
    }

    #[test]
    fn each_mebibyte_shows_at_every_lock_of_the_pull() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let places = Places { root: root.path().to_owned() };
        let stop = AtomicBool::new(false);
        let wait = Waiting::for_layer(0, Duration::from_millis(20), &stop);
        let take = |text: &str, waiting: &dyn Fn()| {
            LayerLock::take(&places, &crate::hashing::sha256(text.as_bytes()), wait, waiting)
                .expect("no error")
        };
        let locks = ["a", "b"].map(|text| take(text, &|| panic!("nobody has it")).expect("free"));
        let heartbeat = Heartbeat::default();
        let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
        for lock in &locks {
            heartbeat.add(lock);
            let times = Timestamps { last_access: long_ago, last_modification: long_ago };
            rustix::fs::futimens(&*lock.file, &times).expect("sets times");
        }
        let beats = || locks.each_ref().map(|lock| last_beat(&lock.file).expect("there").0);
        heartbeat.advance(BEAT - 1);
        assert_eq!(beats(), [1, 1]);
        heartbeat.advance(1);
        assert!(beats().iter().all(|seconds| *seconds > 1));

        let noted = AtomicBool::new(false);
        assert!(take("a", &|| noted.store(true, Ordering::Relaxed)).is_none(), "waited for in vain");
        assert!(noted.load(Ordering::Relaxed));
        drop(locks);
        heartbeat.advance(BEAT);
        assert!(take("a", &|| panic!("nobody has it")).is_some());
        assert_eq!(fs::read_dir(places.locks()).expect("there").count(), 0);
    }
}
