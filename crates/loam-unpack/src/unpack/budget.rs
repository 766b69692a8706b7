//! How much a pull may unpack.
//!
//! Two things are counted. What is *read* is every byte of the decompressed streams, headers and padding too: it may be
//! as much as was free at the beginning, and is never given back, so that nothing decompresses without end. What is
//! *written* is what entries take on the disk, at the most; as the file system knows better, it is asked again every
//! few thousand entries, which also shows what others write.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loam_model::Failure;
use serde::{Deserialize, Serialize};

use super::UnpackError;
use super::cost::Cost;
use crate::space::Space;

/// After so many bytes, or entries, the file system is asked again.
pub(crate) const LOOK_BYTES: u64 = 32 << 20;
const LOOK_ENTRIES: u64 = 4096;

/// What was used since space was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Bytes of decompressed streams.
    pub(crate) read: u64,
    /// What entries were charged.
    pub(crate) written: Cost,
}

impl Spent {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { read: self.read.saturating_add(other.read), written: self.written.plus(other.written) }
    }
}

/// Asks the file system, or whoever may, and tells what was used since.
type Look = Box<dyn Fn(Spent) -> Result<Space, UnpackError> + Send + Sync>;

/// What all layers of an image together may take.
pub struct Budget {
    look: Look,
    /// What the configuration allows, in bytes.
    limit: Option<u64>,
    /// What was free at the beginning.
    first: Space,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes of decompressed streams so far.
    read: u64,
    /// What entries were charged so far.
    written: Cost,
    /// What the file system said last.
    found: Space,
    /// What is free, less what is pending.
    left: Space,
    /// What was charged and is not on the disk yet.
    pending: Cost,
    /// What was charged since the file system was last asked.
    recent: Cost,
    entries: u64,
    /// What nobody has been told of yet.
    untold: Spent,
}

impl Budget {
    /// Makes a budget of what `look` finds, and of at most `limit` bytes.
    pub fn new(
        look: impl Fn() -> Result<Space, Failure> + Send + Sync + 'static,
        limit: Option<u64>,
    ) -> Result<Self, Failure> {
        let first = look()?;
        Ok(Self { limit, ..Self::granted(first, move |_| Ok(look()?)) })
    }

    /// Makes a budget of what was found, `first`, and is asked for again as it is used.
    pub(crate) fn granted(
        first: Space,
        look: impl Fn(Spent) -> Result<Space, UnpackError> + Send + Sync + 'static,
    ) -> Self {
        let none = Cost::default();
        let state = State {
            read: 0,
            written: none,
            found: first,
            left: first,
            pending: none,
            recent: none,
            entries: 0,
            untold: Spent::default(),
        };
        Self { look: Box::new(look), limit: None, first, state: Mutex::new(state) }
    }

    /// What was free at the beginning.
    pub(crate) fn first(&self) -> Space {
        self.first
    }

    /// What was used since space was last asked for.
    pub(crate) fn untold(&self) -> Spent {
        self.state().untold
    }

    /// Counts what another process, which has a budget that was granted from this one, has used; gives what is free now.
    pub(crate) fn account(&self, spent: Spent) -> Result<Space, UnpackError> {
        self.read(spent.read)?;
        let mut state = self.state();
        let written = state.written.plus(spent.written);
        self.within_limit(written.bytes)?;
        state.written = written;
        let found = (self.look)(std::mem::take(&mut state.untold))?;
        state.look_again(found);
        Ok(found)
    }

    /// Asks the file system, whatever anybody has told; an error when nothing may be used any more.
    pub(crate) fn look(&self) -> Result<(), UnpackError> {
        let mut state = self.state();
        let found = (self.look)(Spent::default())?;
        state.look_again(found);
        if found.bytes == 0 {
            return Err(UnpackError::NoSpace { free: self.first.bytes });
        }
        match (self.first.inodes, found.inodes) {
            (Some(free), Some(0) | None) => Err(UnpackError::NoInodes { free }),
            _ => Ok(()),
        }
    }

    /// Whether the file system has lost no more than was charged, give or take what is charged between two looks. Others may
    /// have written to it, too.
    pub(crate) fn is_told_of(&self) -> bool {
        let state = self.state();
        let lost = self.first.bytes.saturating_sub(state.found.bytes);
        let lost_inodes = self.first.inodes.zip(state.found.inodes).map_or(0, |(a, b)| a.saturating_sub(b));
        lost <= state.written.bytes.saturating_add(LOOK_BYTES)
            && lost_inodes <= state.written.inodes.saturating_add(LOOK_ENTRIES)
    }

    /// Bytes of the file system's block.
    pub(crate) fn block(&self) -> u64 {
        self.first.block
    }

    /// Counts bytes of a decompressed stream.
    pub(super) fn read(&self, bytes: u64) -> Result<(), UnpackError> {
        let mut state = self.state();
        let read = state.read.saturating_add(bytes);
        self.within_limit(read)?;
        if read > self.first.bytes {
            return Err(UnpackError::NoSpace { free: self.first.bytes });
        }
        state.read = read;
        state.untold.read += bytes;
        if state.untold.read >= LOOK_BYTES {
            let found = (self.look)(std::mem::take(&mut state.untold))?;
            state.look_again(found);
        }
        Ok(())
    }

    /// Takes what something that is about to be made needs.
    pub(crate) fn take(&self, cost: Cost) -> Result<Charge<'_>, UnpackError> {
        let mut state = self.state();
        let written = state.written.plus(cost);
        self.within_limit(written.bytes)?;
        let due = state.recent.bytes >= LOOK_BYTES || state.entries >= LOOK_ENTRIES;
        if due || !state.holds(cost) {
            let found = (self.look)(std::mem::take(&mut state.untold))?;
            state.look_again(found);
        }
        if state.left.bytes < cost.bytes {
            let free = state.written.bytes.saturating_add(state.left.bytes);
            return Err(UnpackError::NoSpace { free: free.min(self.first.bytes) });
        }
        if !state.holds(cost) {
            let left = state.left.inodes.unwrap_or(u64::MAX);
            let free = state.written.inodes.saturating_add(left);
            return Err(UnpackError::NoInodes { free: free.min(self.first.inodes.unwrap_or(free)) });
        }
        state.charge(cost);
        state.written = written;
        state.untold.written = state.untold.written.plus(cost);
        Ok(Charge { budget: self, left: cost })
    }

    /// Takes what a copy of a file of so many bytes needs.
    pub fn take_copy(&self, size: u64) -> Result<Charge<'_>, UnpackError> {
        self.take(Cost::copy(size, self.block()))
    }

    fn within_limit(&self, bytes: u64) -> Result<(), UnpackError> {
        match self.limit {
            Some(limit) if bytes > limit => Err(UnpackError::TooLarge { limit }),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holds(&self, cost: Cost) -> bool {
        self.left.bytes >= cost.bytes && self.left.inodes.is_none_or(|inodes| inodes >= cost.inodes)
    }

    fn charge(&mut self, cost: Cost) {
        self.left.bytes -= cost.bytes;
        self.left.inodes = self.left.inodes.map(|inodes| inodes - cost.inodes);
        self.pending = self.pending.plus(cost);
        self.recent = self.recent.plus(cost);
        self.entries += 1;
    }

    fn look_again(&mut self, found: Space) {
        self.found = found;
        self.left.bytes = found.bytes.saturating_sub(self.pending.bytes);
        // A file system that counts inodes, and then gives none, has none left.
        let pending = self.pending.inodes;
        self.left.inodes = self.left.inodes.map(|_| found.inodes.unwrap_or(0).saturating_sub(pending));
        (self.recent, self.entries) = (Cost::default(), 0);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Budget");
        shown.field("limit", &self.limit).field("first", &self.first).field("state", &self.state);
        shown.finish_non_exhaustive()
    }
}

/// What was taken for something that is being made. When this ends, it is on the disk, or given up.
#[derive(Debug)]
pub struct Charge<'a> {
    budget: &'a Budget,
    left: Cost,
}

impl Charge<'_> {
    /// Notes that bytes have been written: the file system counts them from now on.
    pub(super) fn spent(&mut self, bytes: usize) {
        let bytes = self.left.bytes.min(bytes as u64);
        self.left.bytes -= bytes;
        self.budget.state().pending.bytes -= bytes;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.pending.bytes -= self.left.bytes;
        state.pending.inodes -= self.left.inodes;
    }
}

#[cfg(test)]
mod tests;
