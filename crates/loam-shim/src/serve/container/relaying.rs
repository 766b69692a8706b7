//! The streams of the container's processes, as the shim's loop serves them.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::Container;
use super::starting::Starting;
use crate::relay::Buffer;
use crate::serve::process::Process;

impl Container {
    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.main.iter_mut().chain(self.execs.values_mut())
    }

    pub(in crate::serve) fn interest<'a>(&'a self, polls: &mut Vec<PollFd<'a>>) {
        for process in self.main.iter().chain(self.execs.values()) {
            process.interest(polls);
        }
        for output in &self.left_open {
            output.interest(true, polls);
        }
        polls.extend(self.starting.values().filter_map(Starting::interest));
    }

    /// Whether there is something to do at once, without a poll.
    pub(in crate::serve) fn has_work(&self) -> bool {
        self.main.iter().chain(self.execs.values()).any(Process::has_work)
    }

    pub(in crate::serve) fn polled(&mut self, events: &mut impl Iterator<Item = PollFlags>) {
        self.processes().for_each(|process| process.polled(events));
        for output in &mut self.left_open {
            output.polled(true, events);
        }
        // Those on their way look for themselves.
    }

    pub(in crate::serve) fn work(&mut self, buffer: &mut Buffer) {
        self.advance_starting();
        let Self { main, execs, log, .. } = self;
        if let Some(main) = main {
            main.work(buffer, log);
        }
        // Only the main process's output is logged.
        for process in execs.values_mut() {
            process.work(buffer, &mut None);
        }
        self.left_open.retain_mut(|output| {
            output.work(true, buffer, &mut None);
            output.is_open()
        });
        self.let_go_of_ended();
    }

    pub(in crate::serve) fn drop_stalled(&mut self, now: Instant) -> Option<Instant> {
        self.processes().filter_map(|process| process.drop_stalled(now)).min()
    }

    pub(in crate::serve) fn release_memory(&mut self) {
        if let Some(log) = &mut self.log {
            log.release();
        }
    }
}
