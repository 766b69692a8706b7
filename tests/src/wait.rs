//! Waiting for a condition, with a limit. Nothing in the tests sleeps for a while and hopes.

use std::time::{Duration, Instant};

/// Waits until `condition` gives something; fails the test with `what` after 20 seconds.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Gives what is left when a search has found nothing, or still finds something after five seconds: links and address
/// leases go a moment after their container, when the kernel has let go of its network namespace.
pub(crate) fn nothing_left(mut search: impl FnMut() -> Vec<String>) -> Vec<String> {
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        let left = search();
        if left.is_empty() || Instant::now() > limit {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
