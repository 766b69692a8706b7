//! How much a pull may unpack.

use std::sync::atomic::{AtomicU64, Ordering};

use super::UnpackError;

/// What an entry without data is counted as: a file system needs about that for an inode and a name.
const ENTRY_COST: u64 = 512;

/// Bytes that all layers of an image together may unpack to.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// Whether the limit is the free space.
    by_space: bool,
    left: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64, by_space: bool) -> Self {
        Self { limit, by_space, left: AtomicU64::new(limit) }
    }

    /// Takes what an entry with so many bytes of data needs.
    pub(super) fn take(&self, bytes: u64) -> Result<(), UnpackError> {
        let cost = bytes.saturating_add(ENTRY_COST);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost))
            .map(drop)
            .map_err(|_| match self.by_space {
                true => UnpackError::NoSpace { free: self.limit },
                false => UnpackError::TooLarge { limit: self.limit },
            })
    }
}
