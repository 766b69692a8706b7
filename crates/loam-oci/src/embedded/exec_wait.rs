//! A later process on its way from its making to the user's program, and what its failures mean.
//!
//! Nothing here waits for the process, which the container's processes may stop as soon as they see it: the shim has
//! others to serve.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use loam_model::{CreatedProcess, ErrorKind, Failure, Result, StartingProcess};
use loam_sys::Spawned;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::channel::{Channel, Message};
use super::child::kill_and_reap;
use super::container::Container;
use super::explain::Explain;

/// How long a process may take for each of its two steps: to be ready, and to become the user's program.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a process that is waited for is told to go on.
const NUDGE: Duration = Duration::from_millis(100);
/// How often, and how long each time, a container is watched for its end when a process in it went away unexpectedly.
const LAST_LOOKS: (u32, Timespec) = (10, Timespec { tv_sec: 0, tv_nsec: 10_000_000 });
/// `SIGCONT`.
const CONTINUE: i32 = 18;
/// The flag of a process that is on its way out (`PF_EXITING` in the kernel's sched.h).
const EXITING: u64 = 0x4;

/// A process that is being made.
#[derive(Debug)]
pub(super) struct Starting {
    undo: Undo,
    channel: Channel,
    first: FirstProcess,
    step: Step,
    deadline: Instant,
    nudged: Instant,
}

#[derive(Debug)]
enum Step {
    /// It sets itself up.
    Preparing,
    /// It was told to become the user's program; the master of its terminal.
    Executing(Option<OwnedFd>),
}

impl Starting {
    pub(super) fn new(undo: Undo, channel: Channel, first: FirstProcess) -> Self {
        let now = Instant::now();
        Self { undo, channel, first, step: Step::Preparing, deadline: now + PATIENCE, nudged: now }
    }

    /// Waits until the process runs.
    pub(super) fn finish(mut self) -> Result<CreatedProcess> {
        let nudge = Timespec { tv_sec: 0, tv_nsec: NUDGE.subsec_nanos().into() };
        loop {
            if let Some(process) = self.advance()? {
                return Ok(process);
            }
            let mut poll = [PollFd::from_borrowed_fd(self.channel.descriptor(), PollFlags::IN)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&nudge)))
                .explain(|| "waiting for the new process failed".to_owned())?;
        }
    }

    fn try_advance(&mut self) -> Result<Option<CreatedProcess>> {
        while is_readable(self.channel.descriptor()) {
            match (self.channel.receive()?, &mut self.step) {
                (Some(Message::Failed(failure)), _) => return Err(failure),
                (Some(Message::Ready(terminal)), Step::Preparing) => {
                    self.channel.send(&Message::Start)?;
                    self.step = Step::Executing(terminal);
                    self.deadline = Instant::now() + PATIENCE;
                }
                (None, Step::Executing(terminal)) => return self.undo.keep(terminal.take()).map(Some),
                _ => {
                    let message = "the process ended while it was being made";
                    return Err(Failure::new(ErrorKind::Internal, message));
                }
            }
        }
        self.look_at_clock().map(|()| None)
    }

    /// The container's processes may stop this one, so it is told to go on, until its time is up.
    fn look_at_clock(&mut self) -> Result<()> {
        let now = Instant::now();
        if now >= self.deadline {
            let message = format!("the new process was not ready within {} s", PATIENCE.as_secs());
            return Err(Failure::new(ErrorKind::Unavailable, message)
                .hint("something in the container may be stopping it"));
        }
        if now.duration_since(self.nudged) >= NUDGE {
            self.nudged = now;
            loam_sys::send_signal(self.undo.child()?.pidfd.as_fd(), CONTINUE).ok();
        }
        Ok(())
    }
}

impl StartingProcess for Starting {
    fn pid(&self) -> i32 {
        self.undo.child().map_or(0, |child| child.pid)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.channel.descriptor()
    }

    fn advance(&mut self) -> Result<Option<CreatedProcess>> {
        self.try_advance().map_err(|failure| {
            // The end of a container's first process waits until all others in its namespace are reaped.
            self.undo.end();
            self.first.explain(failure)
        })
    }
}

/// Kills the process when it is not wanted after all.
#[derive(Debug)]
pub(super) struct Undo(Option<Spawned>);

impl Undo {
    pub(super) fn new(child: Spawned) -> Self {
        Self(Some(child))
    }

    pub(super) fn child(&self) -> Result<&Spawned> {
        self.0.as_ref().ok_or_else(|| Failure::new(ErrorKind::Internal, "the process is gone"))
    }

    fn keep(&mut self, terminal: Option<OwnedFd>) -> Result<CreatedProcess> {
        match self.0.take() {
            Some(Spawned { pid, pidfd }) => Ok(CreatedProcess { pid, pidfd, terminal }),
            None => Err(Failure::new(ErrorKind::Internal, "the process is gone")),
        }
    }

    fn end(&mut self) {
        if let Some(child) = self.0.take() {
            kill_and_reap(&child);
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.end();
    }
}

/// The container's first process, whose end explains every failure.
#[derive(Debug)]
pub(super) struct FirstProcess {
    pid: i32,
    pidfd: OwnedFd,
}

impl FirstProcess {
    pub(super) fn of(container: &Container) -> Result<Self> {
        let pidfd = container.pidfd.try_clone().explain(|| "copying a descriptor failed".to_owned())?;
        Ok(Self { pid: container.pid, pidfd })
    }

    /// What is to be said of a failure: that the container is not running, when that is why.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        // Of these kinds are failures with a reason of their own; what else goes wrong in a container that is killed
        // may be seen before the container's end.
        let is_sure = !matches!(failure.kind(), ErrorKind::Internal | ErrorKind::Exhausted);
        let looks = if is_sure { 1 } else { LAST_LOOKS.0 };
        match (0..looks).any(|_| self.is_ending(is_sure)) {
            true => not_running().caused_by(failure),
            false => failure,
        }
    }

    fn is_ending(&self, at_once: bool) -> bool {
        let limit = if at_once { Timespec { tv_sec: 0, tv_nsec: 0 } } else { LAST_LOOKS.1 };
        let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let has_ended = rustix::event::poll(&mut poll, Some(&limit)).is_ok_and(|count| count > 0);
        has_ended || flags_of(self.pid).is_none_or(|flags| flags & EXITING != 0)
    }
}

pub(super) fn not_running() -> Failure {
    Failure::new(ErrorKind::Conflict, "the container is not running")
}

/// The kernel's flags of a process (proc(5), `/proc/PID/stat`, field 9); `None` when it is gone.
fn flags_of(pid: i32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in parentheses, may contain anything.
    text[text.rfind(')')? + 1..].split_ascii_whitespace().nth(6)?.parse().ok()
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&at_once))).is_ok_and(|count| count > 0)
}
