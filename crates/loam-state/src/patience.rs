//! How long somebody waits for space that others may give back.

use std::thread::sleep;
use std::time::Duration;

/// How often one waits: for a second in all.
pub(crate) const WAITS: u32 = 100;
/// How long before the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// The patience of one look for space, or of one transaction.
#[derive(Debug)]
pub(crate) struct Patience {
    left: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { left: WAITS }
    }
}

impl Patience {
    /// Waits a moment; false at once when it has ended.
    pub(crate) fn waits(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        sleep(PAUSE);
        true
    }
}
