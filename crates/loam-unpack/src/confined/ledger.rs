//! What the helper uses, as far as that can be seen from outside.
//!
//! The helper charges what it makes to the budget before it makes it, and tells of that now and then. One that the bytes have
//! got the better of could tell of nothing. So its word can only ever add to what is seen without it: the bytes that were
//! handed over, which are counted as bytes of the stream when it stays behind them; the free space of the file system, which is
//! looked at while it works, whatever it says; and, at the end, when the file system has lost more than everybody has told of,
//! the files themselves. Walking those costs a system call for each, which honest layers are spared.

use std::os::fd::BorrowedFd;

use super::protocol::Report;
use super::pulse::Pulse;
use crate::error::failed;
use crate::measure::{Taken, taken};
use crate::space::Space;
use crate::unpack::{Budget, LOOK_BYTES, Spent, UnpackError};

/// How far behind the bytes that it was given an honest helper may be with what it tells: it does so every so many bytes, and
/// has some in its buffers.
const BEHIND: u64 = 2 * LOOK_BYTES;
/// What the record of a tar takes for each byte of the tar at the most (maps of sparse files become longer), and in any case.
const RECORD: (u64, u64) = (8, 1 << 20);

/// The account of one helper.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    budget: &'a Budget,
    pulse: &'a Pulse,
    told: Spent,
    /// Bytes of the stream that it has not told of, and that were charged all the same.
    untold: u64,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(budget: &'a Budget, pulse: &'a Pulse) -> Self {
        Self { budget, pulse, told: Spent::default(), untold: 0 }
    }

    /// Charges what the helper tells of; gives what is free.
    pub(super) fn tell(&mut self, spent: Spent) -> Result<Space, UnpackError> {
        self.told = self.told.plus(spent);
        self.budget.account(spent)
    }

    /// Looks at what it does without telling.
    pub(super) fn look(&mut self) -> Result<(), UnpackError> {
        let known = self.told.read.saturating_add(self.untold);
        let missing = self.pulse.handed().saturating_sub(known.saturating_add(BEHIND));
        if missing > 0 {
            self.untold += missing;
            self.budget.account(Spent { read: missing, ..Spent::default() })?;
        }
        self.budget.look()
    }

    /// Charges the last that it tells of, and holds its report, the layer's directory and the length of its record against
    /// all of it.
    pub(super) fn close(
        mut self,
        report: &Report,
        files: BorrowedFd<'_>,
        record: u64,
    ) -> Result<(), UnpackError> {
        self.tell(report.spent())?;
        self.look()?;
        let told = self.told;
        if !report.is_within(told) || record > told.read.saturating_mul(RECORD.0).saturating_add(RECORD.1) {
            return Err(UnpackError::malformed("the unpacker says that it made more than it used"));
        }
        if self.budget.is_told_of() {
            return Ok(());
        }
        // Others may have written meanwhile; the files tell.
        let unseen = |error| failed("what the unpacker made can't be counted", error);
        let Taken { bytes, inodes, is_all } = taken(files, self.budget.block()).map_err(unseen)?;
        if !is_all {
            return Err(UnpackError::malformed("its directories are too deep to be counted"));
        }
        if bytes > told.written.bytes || inodes > told.written.inodes {
            return Err(UnpackError::malformed("the unpacker made more than it said"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::hashing::sha256;
    use crate::open_directory;
    use crate::stream::UnpackedLayer;
    use crate::unpack::{Cost, Unpacked};

    const FREE: u64 = 1 << 40;

    /// A budget on a file system of numbers, and what is free there.
    fn budget(limit: Option<u64>) -> (Budget, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(FREE));
        let seen = Arc::clone(&free);
        let look = move || Ok(Space { block: 4096, bytes: seen.load(Ordering::Relaxed), inodes: None });
        (Budget::new(look, limit).expect("a budget"), free)
    }

    fn report(size: u64, spent: Spent) -> Report {
        let unpacked = Unpacked { size, entries: 1, ..Unpacked::default() };
        let done = UnpackedLayer { unpacked, is_recorded: true, diff_id: sha256(b""), length: spent.read };
        Report::new(done, spent)
    }

    fn spent(read: u64, bytes: u64, inodes: u64) -> Spent {
        Spent { read, written: Cost { bytes, inodes } }
    }

    #[test]
    fn what_is_handed_over_counts_whatever_is_told() {
        let (budget, _) = budget(Some(BEHIND + 1000));
        let pulse = Pulse::default();
        let mut ledger = Ledger::new(&budget, &pulse);
        let hand = |bytes: u64| pulse.took(usize::try_from(bytes).expect("fits"));
        hand(2 * BEHIND + 500);
        ledger.look().expect("within the limit");
        ledger.look().expect("and not counted twice");
        hand(500);
        ledger.look().expect("just as much as the limit");
        hand(1);
        let told = ledger.look().expect_err("beyond it").to_string();
        assert_eq!(told, format!("it takes more than {} bytes unpacked", BEHIND + 1000));
    }

    #[test]
    fn a_helper_that_is_a_little_behind_is_charged_what_it_tells() {
        let (budget, _) = budget(Some(BEHIND + 1000));
        let pulse = Pulse::default();
        let mut ledger = Ledger::new(&budget, &pulse);
        pulse.took(usize::try_from(BEHIND).expect("fits"));
        ledger.look().expect("nothing is charged yet");
        ledger.tell(spent(BEHIND + 1000, 0, 0)).expect("just as much as the limit");
        ledger.tell(spent(1, 0, 0)).expect_err("and no more");
    }

    #[test]
    fn a_disk_that_fills_ends_it_whatever_is_told() {
        let (budget, free) = budget(None);
        let pulse = Pulse::default();
        let mut ledger = Ledger::new(&budget, &pulse);
        ledger.look().expect("there is space");
        free.store(0, Ordering::Relaxed);
        let told = ledger.look().expect_err("the reserve is reached").to_string();
        assert!(told.contains("that are free in the image store"), "{told}");
    }

    #[test]
    fn files_are_counted_when_more_is_gone_than_was_told_of() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("d")).expect("made");
        std::fs::write(directory.path().join("d/file"), vec![1; 40_000]).expect("written");
        let files = open_directory(directory.path()).expect("opens");
        let close = |lost: u64, report: &Report, record: u64| {
            let (budget, free) = budget(None);
            let pulse = Pulse::default();
            let ledger = Ledger::new(&budget, &pulse);
            free.fetch_sub(lost, Ordering::Relaxed);
            ledger.close(report, files.as_fd(), record).map_err(|error| error.to_string())
        };
        let honest = report(40_000, spent(42_000, 60_000, 3));
        let (sly, many) = (report(100, spent(42_000, 30_000, 3)), report(100, spent(42_000, 60_000, 1)));
        let much = 1 << 30;
        assert_eq!(close(0, &honest, 0), Ok(()));
        assert_eq!(close(much, &honest, 0), Ok(()), "others have written");
        for lying in [&sly, &many] {
            assert!(close(much, lying, 0).expect_err("it has made more").contains("more than it said"));
        }
        for (report, record) in [(report(42_001, spent(42_000, 60_000, 3)), 0), (honest, 4 << 20)] {
            let told = close(0, &report, record).expect_err("that can't be");
            assert!(told.contains("more than it used"), "{told}");
        }
    }
}
