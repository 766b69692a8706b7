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

    /// Puts it on any of them.
    pub(super) fn any(self) {
        if let Some(allowed) = &self.0 {
            let _stays_where_it_is = sched_setaffinity(None, allowed).is_err();
        }
    }

    fn numbers(self) -> impl DoubleEndedIterator<Item = usize> {
        (0..CpuSet::MAX_CPU).filter(move |number| self.0.is_some_and(|allowed| allowed.is_set(*number)))
    }

    fn only(self, number: Option<usize>) {
        if let Some(number) = number {
            let mut only = CpuSet::new();
            only.set(number);
            Self(Some(only)).any();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_put_on_one_processor_and_let_go() {
        let processors = Processors::of_this_thread();
        let allowed = processors.0.expect("readable");
        for put in [Processors::first, Processors::last] {
            put(processors);
            let now = Processors::of_this_thread().0.expect("readable");
            assert_eq!(now.count(), 1);
            assert!(Processors(Some(now)).numbers().all(|number| allowed.is_set(number)));
            processors.any();
            assert_eq!(Processors::of_this_thread().0, Some(allowed));
        }
    }
}
