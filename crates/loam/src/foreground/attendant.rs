//! The loop of the attending thread: signals, and what other threads report.

use std::io::IsTerminal as _;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::time::Duration;

use loam_engine::Control;
use loam_model::{ErrorKind, Failure, ProcessTarget};
use loam_sys::SignalQueue;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::stdout;

use super::{Event, Outcome, Subject, WINDOW_CHANGED, WhenUnread, internal};
use crate::exit::Exit;
use crate::{render, terminal};

/// Somebody wrote to a pipe that nobody reads.
const BROKEN_PIPE: i32 = 13;

/// What ctrl-c sends.
const INTERRUPT: i32 = 2;

/// The interrupt after which the person is told why nothing happens.
const INTERRUPTS_BEFORE_HINT: u32 = 3;

/// How long a container has to end when nobody reads its output any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// The loop of the attending thread.
pub(super) struct Attendant<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) signals: &'a SignalQueue,
    pub(super) proxy: bool,
    pub(super) control: Option<Control>,
    /// Whether standard output, handed over to the shim, is watched here.
    pub(super) watch: bool,
    /// How often the person has asked the process to end from the keyboard.
    pub(super) interrupts: u32,
}

impl Attendant<'_> {
    pub(super) fn run<T>(
        &mut self,
        wake: &OwnedFd,
        events: &mpsc::Receiver<Event<T>>,
    ) -> Result<Outcome<T>, Failure> {
        loop {
            let output = stdout();
            let mut fds = vec![PollFd::new(self.signals, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
            if self.watch {
                // A pipe without a reader is an error, which is always reported.
                fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty()));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(internal("an event can't be waited for")(error.into())),
            }
            let unread = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
            let mut counter = [0; 8];
            rustix::io::read(wake, &mut counter).ok();
            while let Ok(event) = events.try_recv() {
                match event {
                    Event::Ended(result) => return Ok(Outcome::Ended(result)),
                    Event::Detached => return Ok(Outcome::Left(Exit::SUCCESS)),
                    Event::Unread => {
                        if let Some(exit) = self.unread() {
                            return Ok(Outcome::Left(exit));
                        }
                    }
                }
            }
            if unread {
                self.watch = false;
                if let Some(exit) = self.unread() {
                    return Ok(Outcome::Left(exit));
                }
            }
            while let Some(signal) = self.signals.next().map_err(internal("signals can't be read"))? {
                match signal {
                    WINDOW_CHANGED => self.resize(),
                    signal if self.proxy => self.send(signal),
                    signal => return Ok(Outcome::Left(Exit::of_signal(signal))),
                }
            }
        }
    }

    fn unread(&mut self) -> Option<Exit> {
        match self.subject.when_unread {
            WhenUnread::Stop => {
                let stopped = self.subject.engine.stop(&self.subject.container, Some(PATIENCE));
                self.report(stopped.map(drop));
                None
            }
            WhenUnread::Signal => {
                self.send(BROKEN_PIPE);
                None
            }
            WhenUnread::Leave => Some(Exit::SUCCESS),
        }
    }

    fn send(&mut self, signal: i32) {
        if signal == INTERRUPT {
            self.interrupts += 1;
            if self.interrupts == INTERRUPTS_BEFORE_HINT {
                let id = &self.subject.container[..self.subject.container.len().min(12)];
                if std::io::stderr().is_terminal() {
                    // The terminal has echoed the keys.
                    render::note("");
                }
                // pid_namespaces(7): the first process gets only signals that it has a handler for.
                render::hint(&format!(
                    "the process takes no notice of interrupts; `loam stop {id}` elsewhere ends it, and `--init` hands them on"
                ));
            }
        }
        let result = self.with_control(|control, target| control.signal(target, signal));
        self.report(result);
    }

    fn resize(&mut self) {
        if let Some(size) = terminal::size() {
            let result = self.with_control(|control, target| control.resize(target, size));
            self.report(result);
        }
    }

    fn with_control(
        &mut self,
        work: impl FnOnce(&mut Control, &ProcessTarget) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let control = match &mut self.control {
            Some(control) => control,
            None => self.control.insert(self.subject.engine.control(&self.subject.container)?),
        };
        work(control, &self.subject.target)
    }

    /// Says what could not be done for a process that still lives. Of one that has ended we shall hear.
    fn report(&self, result: Result<(), Failure>) {
        if let Err(failure) = result
            && !matches!(failure.kind(), ErrorKind::Conflict | ErrorKind::NotFound)
        {
            render::warning(&failure.chain());
        }
    }
}
