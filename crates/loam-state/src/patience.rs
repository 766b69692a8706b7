//! How long a process waits for space that others may give back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// How often it waits in a row: for a second and the attempts in between.
pub(crate) const WAITS: u32 = 100;
/// How long before the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// The patience of a process with a disk. Once it has ended nobody waits again, until there was space.
#[derive(Debug)]
pub(crate) struct Patience {
    left: AtomicU32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { left: AtomicU32::new(WAITS) }
    }

    /// There is space again.
    pub(crate) fn renew(&self) {
        self.left.store(WAITS, Ordering::Relaxed);
    }

    /// Waits a moment; false at once when it has ended.
    pub(crate) fn waits(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        let may_wait = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if may_wait {
            sleep(PAUSE);
        }
        may_wait
    }
}
