//! What happens by itself: children end, waiters get their answer, the last one turns off the light.

use std::time::{Duration, Instant};

use loam_model::{ExitRecord, ExitStatus, ProcessTarget};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::WaitOptions;

use super::container::Container;
use super::{Shim, exit};
use crate::protocol::Reply;
use crate::relay::STALL_LIMIT;

/// How long the shim of an ended container stays with nobody connected.
const LINGER: Duration = Duration::from_secs(60);

/// How long killed processes may take to end.
const DEATH: Duration = Duration::from_secs(10);

/// How often streams are looked at for what was written until the end. Each time some 16 pieces are moved: together
/// more than a pipe or a terminal can hold (1 MiB), so that others who still write can't hold the end up.
const LAST_ROUNDS: u32 = 16;

/// How often a further process on its way is looked at though it says nothing.
const NUDGE: Duration = Duration::from_millis(100);

/// How far the container has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// How the creation went, once it was tried.
    pub(super) creation: Option<std::result::Result<(), crate::protocol::WireFailure>>,
    /// How the main process ended, and when we learned it.
    pub(super) ended: Option<(ExitRecord, Instant)>,
    /// Whether `on_exit` was run for the state that the container is in.
    told: bool,
    /// Whether an owner left without shutting down.
    abandoned: bool,
    /// Since when nobody has been connected to the shim of an ended container.
    alone_since: Option<Instant>,
}

impl Shim {
    /// Takes note of every child that has ended.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let status = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => ExitStatus::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
                (None, Some(signal)) => ExitStatus::Signaled(signal),
                (None, None) => continue,
            };
            self.on_exit.child_ended(pid);
            if self.container.child_ended(pid, status) {
                self.main_ended(status);
            }
        }
    }

    /// Writes down how the main process ended, before anyone is told.
    fn main_ended(&mut self, status: ExitStatus) {
        let finished_at = format!("{:.9}", jiff::Timestamp::now());
        let out_of_memory = self.container.out_of_memory(&self.children, status);
        let record = ExitRecord { status, out_of_memory, finished_at };
        // When it can't be written, clients still learn it from us.
        match exit::write_record(&self.launch.directory, &record) {
            Ok(()) | Err(_) => {}
        }
        self.life.ended = Some((record, Instant::now()));
        self.life.told = false;
    }

    /// Answers every client whose process has ended and, if the client wants that, has been heard out.
    pub(super) fn answer_waiters(&mut self) {
        let mut heard = Vec::new();
        for connection in &mut self.connections {
            if let Some(reply) = connection.begins.and_then(|id| self.container.begun(id)) {
                connection.send(&reply);
                connection.begins = None;
            }
            let Some(target) = &connection.waits_for else { continue };
            let outcome = match self.container.process(target) {
                Ok(process) if connection.hears_out => process.outcome().map(Reply::Ended),
                Ok(process) => process.exit.map(Reply::Ended),
                Err(failure) => Some(Reply::from_result(Err(failure))),
            };
            if let Some(reply) = outcome {
                connection.send(&reply);
                heard.extend(connection.waits_for.take());
            }
        }
        for target in heard {
            if let ProcessTarget::Exec(id) = target {
                self.container.forget(id);
            }
        }
    }

    /// Lets closed connections go, runs `on_exit` and ends, when it is time to.
    pub(super) fn look_at_life(&mut self) {
        let before = self.connections.len();
        let owners = self.connections.iter().filter(|connection| connection.owner).count();
        for connection in self.connections.iter().filter(|connection| connection.closed) {
            if let Some(id) = connection.begins {
                self.container.give_up(id);
            }
        }
        self.connections.retain(|connection| !connection.closed);
        if self.connections.iter().filter(|connection| connection.owner).count() < owners {
            self.life.abandoned = true;
            self.life.told = false;
        }
        let owned = self.connections.iter().any(|connection| connection.owner);
        if self.container.main.is_none() {
            // Nothing was made, and nobody is left who could ask for it.
            if self.connections.is_empty() && before > 0 {
                self.tell();
                self.finished = true;
            }
            return;
        }
        if !owned && !self.life.told && !self.on_exit.is_running() && self.is_time_to_tell() {
            self.tell();
        }
        self.leave_when_alone();
    }

    fn is_time_to_tell(&self) -> bool {
        let main = self.container.main.as_ref();
        match &self.life.ended {
            Some((_, since)) => {
                main.is_some_and(|main| main.outcome().is_some()) || since.elapsed() >= STALL_LIMIT
            }
            None => self.life.abandoned && main.is_some_and(|main| !main.started),
        }
    }

    fn tell(&mut self) {
        // A container that runs on is told of again when it has ended.
        self.life.told = true;
        let (on_exit, files) = (&mut self.on_exit, &self.files);
        match self.container.on_host(|| files.as_inherited(|| on_exit.spawn())) {
            Ok(()) | Err(_) => {}
        }
    }

    /// Ends the shim of a container that has ended and that nobody asks for.
    fn leave_when_alone(&mut self) {
        if self.life.ended.is_none() || !self.connections.is_empty() || self.on_exit.is_running() {
            self.life.alone_since = None;
            return;
        }
        let since = *self.life.alone_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= LINGER {
            // What can't be removed now, the engine's recovery removes.
            match self.container.delete(&self.children) {
                Ok(()) | Err(_) => self.finished = true,
            }
        }
    }

    /// When something is to be done though nothing happens.
    pub(super) fn next_wake(&mut self, now: Instant) -> Option<Instant> {
        let stalled = self.container.drop_stalled(now);
        let tell = match &self.life.ended {
            Some((_, since)) if !self.life.told && !self.connections.iter().any(|c| c.owner) => {
                Some(*since + STALL_LIMIT).filter(|wake| *wake > now)
            }
            _ => None,
        };
        let leave = self.life.alone_since.map(|since| since + LINGER);
        let nudge = self.container.is_starting_one().then(|| now + NUDGE);
        [stalled, tell, leave, nudge, self.deaf_until].into_iter().flatten().min()
    }

    /// Kills and removes the container; the loop ends after this.
    pub(super) fn shut_down(&mut self) -> loam_model::Result<()> {
        self.container.give_all_up();
        if self.container.main.as_ref().is_some_and(|main| main.exit.is_none()) {
            self.container.kill(&self.children);
            // The first process of a PID namespace ends only when all others in there are reaped: ours are by us.
            self.reap_until(|container| container.main.as_ref().is_none_or(|main| main.exit.is_some()));
        }
        self.container.delete(&self.children)?;
        self.reap_until(Container::has_ended);
        // What was written until the end still goes to the log and to whoever takes it.
        for _ in 0..LAST_ROUNDS {
            self.container.work(&mut self.buffer);
            if !self.container.has_work() {
                break;
            }
        }
        self.answer_waiters();
        self.container.leave_mounts()?;
        self.finished = true;
        Ok(())
    }

    /// Takes note of children that end until that is enough, or they have had time to.
    fn reap_until(&mut self, is_enough: impl Fn(&Container) -> bool) {
        let deadline = Instant::now() + DEATH;
        loop {
            self.reap();
            let left = deadline.saturating_duration_since(Instant::now());
            if is_enough(&self.container) || left.is_zero() {
                return;
            }
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let mut polls = [PollFd::new(&self.children, PollFlags::IN)];
            match rustix::event::poll(&mut polls, Some(&left)) {
                Ok(_) | Err(_) => self.children.clear(),
            }
        }
    }
}
