//! Syncs on the way: what has been unpacked goes to the disk while the rest is unpacked, so that the one sync which the pull
//! waits for finds little left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use loam_model::Result;

/// So many bytes of blobs are worth a sync.
const STEP: u64 = 16 << 20;

/// Counts what comes, and asks for a sync now and then.
#[derive(Default)]
pub(super) struct EarlySync {
    bytes: AtomicU64,
    ask: Mutex<Option<SyncSender<()>>>,
}

impl EarlySync {
    /// What hears it ask, for [`serve`]; nothing for so few bytes that there would be one sync shortly before the last.
    pub(super) fn listen(&self, expected: u64) -> Option<Receiver<()>> {
        (expected >= 2 * STEP).then(|| {
            // One that is waiting is enough: it will find what has come meanwhile.
            let (ask, asked) = sync_channel(1);
            *self.asking() = Some(ask);
            asked
        })
    }

    /// So many more bytes have come.
    pub(super) fn advance(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / STEP != before.saturating_add(bytes) / STEP
            && let Some(ask) = &*self.asking()
        {
            ask.try_send(()).ok();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        *self.asking() = None;
    }

    fn asking(&self) -> std::sync::MutexGuard<'_, Option<SyncSender<()>>> {
        self.ask.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs whenever it is asked, until the end.
pub(super) fn serve(asked: &Receiver<()>, sync: impl Fn() -> Result<()>) -> Result<()> {
    asked.iter().try_for_each(|()| sync())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_sync_is_asked_for_at_every_step_and_waits_for_the_one_before() {
        let early = EarlySync::default();
        early.advance(STEP);
        let asked = early.listen(9 * STEP).expect("worth it");
        early.advance(STEP - 1);
        assert!(asked.try_recv().is_err());
        early.advance(1);
        early.advance(STEP);
        early.advance(5 * STEP);
        early.end();
        early.advance(STEP);
        let count = Cell::new(0);
        serve(&asked, || {
            count.set(count.get() + 1);
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(count.get(), 1);
        assert!(EarlySync::default().listen(STEP).is_none(), "a small image is synced once");
    }
}
