//! Which processor a side of a connection works on.
//!
//! Where the kernel puts the two sides decides more about a round trip than what its packets pass: on one processor the
//! other side is switched to, on two it is woken up, which takes two or three times as long in a virtual machine.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that a thread may use. Where it can't be moved it stays where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processors(Option<CpuSet>);

impl Processors {
    /// Those of the calling thread.
    pub(super) fn of_this_thread() -> Self {
        Self(sched_getaffinity(None).ok())
    }

    /// Puts the calling thread on the first of them.
    pub(super) fn first(self) {
        self.only(self.numbers().next());
    }

    /// Puts it on the last of them, which is the first where there is only one.
    pub(super) fn last(self) {
        self.only(self.numbers().next_back());
    }

    fn numbers(self) -> impl DoubleEndedIterator<Item = usize> {
        (0..CpuSet::MAX_CPU).filter(move |number| self.0.is_some_and(|allowed| allowed.is_set(*number)))
    }

    fn only(self, number: Option<usize>) {
        if let Some(number) = number {
            let mut only = CpuSet::new();
            only.set(number);
            put(&only);
        }
    }
}

/// Keeps the calling thread on the first processor that it may use, until it is dropped by the same thread.
#[derive(Debug)]
pub(super) struct Pinned(Processors);

impl Pinned {
    pub(super) fn to_the_first() -> Self {
        let processors = Processors::of_this_thread();
        processors.first();
        Self(processors)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.0.iter().for_each(put);
    }
}

fn put(processors: &CpuSet) {
    let _stays_where_it_is = sched_setaffinity(None, processors).is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        Processors::of_this_thread().numbers().collect()
    }

    #[test]
    fn a_thread_is_put_on_one_processor_and_let_go() {
        let before = allowed();
        let (first, last) = (before[0], before[before.len() - 1]);
        let processors = Processors::of_this_thread();
        processors.last();
        assert_eq!(allowed(), [last]);
        processors.first();
        assert_eq!(allowed(), [first]);
        processors.0.iter().for_each(put);
        let pinned = Pinned::to_the_first();
        assert_eq!(allowed(), [first]);
        drop(pinned);
        assert_eq!(allowed(), before);
    }
}
