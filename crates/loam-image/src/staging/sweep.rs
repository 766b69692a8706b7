//! Sweeping: what crashed processes have left goes.

use loam_model::{Failure, Result};
use rustix::fs::FlockOperation;

use super::{Places, entries, open_directory};

/// Deletes what crashed processes have left: staged layers that nobody holds, layers that the database does not know
/// (`known` is asked after their lock is taken), trash. Failures are left for the next time.
pub(crate) fn sweep(places: &Places, known: &dyn Fn(&str) -> Result<bool>) {
    for (place, ask) in [(places.staging(), false), (places.layers(), true)] {
        for path in entries(&place) {
            let Some(id) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if ask && known(id).unwrap_or(true) {
                continue;
            }
            let Ok(directory) = open_directory(&path) else { continue };
            if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if ask && known(id).unwrap_or(true) {
                continue;
            }
            report(id, places.discard(&path));
        }
    }
    for path in entries(&places.trash()) {
        // Another process may be deleting the same; both succeed.
        if let Err(failure) = crate::quota::remove_buried(&path, places) {
            tracing::debug!(path = %path.display(), failure = %failure.chain(), "trash is left");
        }
    }
}

/// Says what became of garbage.
pub(crate) fn report(what: &str, result: std::result::Result<(), Failure>) {
    match result {
        Ok(()) => tracing::info!(what, "removed what an interrupted command had left"),
        Err(failure) => tracing::warn!(what, failure = %failure.chain(), "garbage is left for the next time"),
    }
}
