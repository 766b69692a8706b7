//! The layers of a pull that wait for a thread: the largest goes first, so that none is left alone at the end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What waits, with the size that decides.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: Vec<(u64, T)>,
    /// Whether all is there that comes without a delay, so that it is known what is the largest.
    open: bool,
    ended: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let state = State { waiting: Vec::new(), open: false, ended: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// Puts one in.
    pub(super) fn put(&self, size: u64, job: T) {
        self.lock().waiting.push((size, job));
        self.changed.notify_one();
    }

    /// What comes from now on takes a while: what is there may be taken.
    pub(super) fn open(&self) {
        self.lock().open = true;
        self.changed.notify_all();
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.open();
    }

    /// Waits for the largest; `None` when there is nothing more.
    pub(super) fn take(&self) -> Option<T> {
        let waits = |state: &mut State<T>| !(state.open && (state.ended || !state.waiting.is_empty()));
        let mut state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        let largest = (0..state.waiting.len()).max_by_key(|at| state.waiting[*at].0)?;
        Some(state.waiting.swap_remove(largest).1)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_what_is_there_goes_first() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take());
            queue.put(1, "small");
            queue.put(3, "large");
            queue.put(2, "middle");
            queue.open();
            assert_eq!(taken.join().expect("no panic"), Some("large"));
        });
        queue.put(5, "late");
        queue.end();
        assert_eq!([(); 4].map(|()| queue.take()), [Some("late"), Some("middle"), Some("small"), None]);
    }
}
