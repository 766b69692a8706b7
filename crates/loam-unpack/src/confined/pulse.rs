//! Whether the helper gets on.
//!
//! One that the bytes have got the better of could take no more of them and say nothing, or nothing of use, for ever. How long
//! an honest one needs for a layer nobody knows; but it takes bytes, and tells of bytes and entries that it is done with. Only
//! that counts, not that it speaks: what it has to get done is as little as a transfer has to. While the bytes have
//! not come, it is not expected to do anything.
//!
//! So little would keep one going for years that creeps through what is free, or says that it does. In all, no helper may take
//! longer than [`LIFE`]; and one that waits for nobody, because all that it reads is there, has to keep up a [`PACE`].

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::unpack::Spent;

/// How long a helper that has bytes to take may need for a [`STEP`]. A slow disk that writes back what it holds takes seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// What has to get done in that time, in bytes: 64 KiB a minute.
const STEP: u64 = 320 << 10;
/// How long a helper may take for all that it does.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes a second, on average, that one gets done which reads a file and writes one: a hundredth of what a slow disk does.
const PACE: u64 = 64 << 10;
/// An entry counts as so many bytes: its header, and as much again.
const ENTRY: u64 = 1024;
/// How often somebody looks what there is to be seen from outside.
const TICK: Duration = Duration::from_millis(250);

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

    /// The helper has taken so many bytes.
    pub(super) fn took(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes that were handed over so far.
    pub(super) fn handed(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// What the one who listens hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A word waits to be received.
    Word,
    /// It is time to look around.
    Tick,
    /// The helper gets nothing done.
    Stuck,
    /// It gets something done, and takes too long for it.
    Slow,
}

/// Waits for the helper's words, and keeps an eye on what it does.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pulse: &'a Pulse,
    patience: Duration,
    tick: Duration,
    life: Duration,
    /// Bytes a second, on average.
    pace: Option<u64>,
    /// What it has told of, in bytes.
    told: u64,
    /// Everything that was done when that was last enough.
    mark: u64,
    /// How long it could have got on since.
    idle: Duration,
    /// How long it could have got on in all.
    busy: Duration,
    looked: Instant,
}

impl<'a> Watch<'a> {
    pub(super) fn new(pulse: &'a Pulse) -> Self {
        Self::with(pulse, PATIENCE, TICK)
    }

    /// The same for one that waits for nobody.
    pub(super) fn paced(pulse: &'a Pulse) -> Self {
        Self { pace: Some(PACE), ..Self::new(pulse) }
    }

    fn with(pulse: &'a Pulse, patience: Duration, tick: Duration) -> Self {
        let (idle, busy, looked) = (Duration::ZERO, Duration::ZERO, Instant::now());
        Self { pulse, patience, tick, life: LIFE, pace: None, told: 0, mark: 0, idle, busy, looked }
    }

    /// Takes note of what the helper says that it has done.
    pub(super) fn told(&mut self, spent: Spent) {
        let entries = spent.written.inodes.saturating_mul(ENTRY);
        self.told = self.told.saturating_add(spent.read).saturating_add(entries);
    }

    /// Waits for the next thing to happen.
    pub(super) fn wait(&mut self, control: BorrowedFd<'_>) -> Result<Heard, Errno> {
        loop {
            let rest = self.tick.saturating_sub(self.looked.elapsed());
            if rest.is_zero() {
                return Ok(self.look());
            }
            let rest = Timespec::try_from(rest).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            match poll(&mut [PollFd::from_borrowed_fd(control, PollFlags::IN)], Some(&rest)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(Heard::Word),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn look(&mut self) -> Heard {
        // A process that was stopped for a while has not been waiting.
        let passed = self.looked.elapsed().min(2 * self.tick);
        self.looked = Instant::now();
        let done = self.told.saturating_add(self.pulse.handed());
        let waits = self.pulse.at_source.load(Ordering::Relaxed);
        if !waits {
            self.busy += passed;
        }
        if done >= self.mark.saturating_add(STEP) {
            (self.mark, self.idle) = (done, Duration::ZERO);
        } else if !waits {
            self.idle += passed;
        }
        match () {
            () if self.idle >= self.patience => Heard::Stuck,
            () if self.busy >= self.allowed(done) => Heard::Slow,
            () => Heard::Tick,
        }
    }

    /// How long it may take for so many bytes.
    fn allowed(&self, done: u64) -> Duration {
        let paced = |pace| self.patience.saturating_add(Duration::from_secs(done / pace));
        self.pace.map_or(self.life, |pace| self.life.min(paced(pace)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::Cost;
    use std::os::fd::AsFd;

    const BRIEF: Duration = Duration::from_millis(60);
    const TICK: Duration = Duration::from_millis(2);

    /// Whether a helper is given up within so many ticks, of which each is told to `act`.
    fn is_given_up(ticks: usize, pulse: &Pulse, act: impl FnMut(&mut Watch<'_>)) -> bool {
        given_up(ticks, Watch::with(pulse, BRIEF, TICK), act).is_some()
    }

    /// The same of this watch; gives what it heard then.
    fn given_up(ticks: usize, mut watch: Watch<'_>, mut act: impl FnMut(&mut Watch<'_>)) -> Option<Heard> {
        let (ours, theirs) = loam_packet::pair().expect("a pair");
        let mut seen = 0;
        while seen < ticks {
            match watch.wait(ours.as_fd()).expect("polled") {
                heard @ (Heard::Stuck | Heard::Slow) => return Some(heard),
                Heard::Tick => {
                    seen += 1;
                    act(&mut watch);
                    loam_packet::send(theirs.as_fd(), &"a word of no use", &[]).expect("sent");
                }
                Heard::Word => drop(loam_packet::receive::<String>(ours.as_fd()).expect("received")),
            }
        }
        None
    }

    /// So many that patience would be over long before.
    const MANY: usize = 200;

    #[test]
    fn words_are_no_progress() {
        assert!(is_given_up(MANY, &Pulse::default(), |_| {}));
        let nothing = Spent::default();
        assert!(is_given_up(MANY, &Pulse::default(), |watch| watch.told(nothing)));
        let little = Spent { read: 1, ..nothing };
        assert!(is_given_up(MANY, &Pulse::default(), |watch| watch.told(little)), "a byte at a time");
        let pulse = Pulse::default();
        assert!(is_given_up(MANY, &pulse, |_| pulse.took(1)), "neither is it to take one");
    }

    #[test]
    fn bytes_and_entries_are_progress() {
        let pulse = Pulse::default();
        let step = usize::try_from(STEP).expect("small");
        assert!(!is_given_up(MANY, &pulse, |_| pulse.took(step)));
        let read = Spent { read: STEP, ..Spent::default() };
        assert!(!is_given_up(MANY, &Pulse::default(), |watch| watch.told(read)));
        let made = Cost { bytes: 0, inodes: STEP / ENTRY };
        let made = Spent { written: made, ..Spent::default() };
        assert!(!is_given_up(MANY, &Pulse::default(), |watch| watch.told(made)));
    }

    #[test]
    fn a_source_may_be_slow() {
        let pulse = Pulse::default();
        assert!(!pulse.at_source(|| is_given_up(MANY, &pulse, |_| {})));
        assert!(is_given_up(MANY, &pulse, |_| {}), "not when the bytes have come");
    }

    #[test]
    fn who_creeps_is_given_up() {
        let (pulse, step) = (Pulse::default(), usize::try_from(STEP).expect("small"));
        let creeps = |watch| given_up(MANY, watch, |_| pulse.took(step));
        let watch = || Watch::with(&pulse, BRIEF, TICK);
        assert_eq!(creeps(watch()), None);
        assert_eq!(creeps(Watch { life: BRIEF, ..watch() }), Some(Heard::Slow), "its life is over");
        // Far from a second for what it gets done.
        assert_eq!(
            creeps(Watch { pace: Some(1 << 40), ..watch() }),
            Some(Heard::Slow),
            "it keeps up no pace"
        );
        assert_eq!(creeps(Watch { pace: Some(1), ..watch() }), None);
        let watch = Watch { life: BRIEF, pace: Some(1 << 40), ..watch() };
        assert_eq!(pulse.at_source(|| given_up(MANY, watch, |_| {})), None, "it waits for its bytes");
    }

    #[test]
    fn what_an_archive_may_take_follows_from_what_is_seen_of_it() {
        let pulse = Pulse::default();
        let watch = Watch::paced(&pulse);
        assert_eq!(watch.allowed(0), PATIENCE);
        assert_eq!(watch.allowed(100 << 20), PATIENCE + Duration::from_secs(1600));
        assert_eq!(watch.allowed(u64::MAX), LIFE);
        assert_eq!(Watch::new(&pulse).allowed(0), LIFE);
    }
}
