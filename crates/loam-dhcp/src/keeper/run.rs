//! The loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use loam_sys::SignalQueue;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::arguments::Arguments;
use super::connection::{Arrived, Connection};
use super::handover::Apart;
use super::lease::Lease;
use super::listener::{Listener, Opened, handed_over};
use super::log::Log;
use super::records::{Record, Records};
use super::step;
use crate::client::{Moment, Outcome};
use crate::place::Interfaces;
use crate::wire::Attachment;

/// How many callers are listened to at a time; more wait until it is their turn.
const MOST_CALLERS: usize = 256;
/// How often it is looked whether containers have gone without a word.
const LOOK: Duration = Duration::from_secs(60);
/// How long callers wait when there are no descriptors for them.
const DEAF: Duration = Duration::from_secs(1);

/// How long one that was just started waits for the caller that it was started for.
const FIRST: Duration = Duration::from_secs(10);

/// The time since the machine started, sleep included: leases end for machines that sleep, too.
pub(super) fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Each lease holds a namespace open. Where the limit can't be raised, leases beyond it are refused.
fn have_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap_or_default();
}

/// A keeper at work.
pub(super) struct Keeper<'a> {
    pub(super) arguments: Arguments,
    pub(super) records: Records,
    pub(super) log: Log<'a>,
    pub(super) leases: BTreeMap<Attachment, Lease>,
    /// Leases that are over and have not been given back.
    pub(super) expired: BTreeSet<Attachment>,
    /// Leases of earlier keepers whose namespaces can't be seen from here.
    pub(super) unseen: BTreeMap<Attachment, Record>,
    pub(super) interfaces: &'static dyn Interfaces,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) listener: Listener,
    signals: SignalQueue,
    last_caller: u64,
    next_look: Moment,
    /// Until when callers wait, because there are no descriptors for them.
    deaf_until: Moment,
    /// Until when the first request is waited for; past when there was one.
    patient_until: Moment,
    /// Set while callers come to another keeper, and leases are here that it has not taken.
    pub(super) apart: Option<Apart>,
}

/// What wakes a keeper.
enum Event {
    Signal,
    /// Something has happened to names beside the socket's.
    Names,
    Caller,
    Said(u64),
    Heard(Attachment),
}

/// Runs a keeper in the foreground until it is told to end.
pub(super) fn daemon(
    arguments: &Arguments,
    variable: impl Fn(&str) -> Option<String>,
    errors: &mut dyn Write,
    interfaces: &'static dyn Interfaces,
) -> Result<(), String> {
    let opened = match handed_over(variable) {
        0 => Listener::open(&arguments.socket)?,
        1 => Listener::take_over()?,
        count => return Err(format!("Too many ({count}) FDs passed through socket activation")),
    };
    let Opened::Ours(listener, records) = opened else {
        return Err(format!("a daemon listens on `{}` already", arguments.socket.display()));
    };
    let mut keeper = Keeper::new(arguments.clone(), listener, records, Log::Caller(errors), interfaces)?;
    if let Some(path) = &arguments.pid_file {
        fs::write(path, std::process::id().to_string()).map_err(|cause| step("writing", path, cause))?;
    }
    let ended = keeper.run(true);
    if let Some(path) = &arguments.pid_file {
        fs::remove_file(path).map_err(|cause| step("removing", path, cause))?;
    }
    ended
}

impl<'a> Keeper<'a> {
    /// Goes on with the leases that an earlier keeper left.
    pub(super) fn new(
        arguments: Arguments,
        listener: Listener,
        records: Records,
        log: Log<'a>,
        interfaces: &'static dyn Interfaces,
    ) -> Result<Self, String> {
        let signals = SignalQueue::block(&[Signal::TERM.as_raw(), Signal::INT.as_raw()])
            .map_err(|cause| format!("blocking signals failed: {cause}"))?;
        have_many_descriptors();
        let mut keeper = Self {
            arguments,
            records,
            log,
            leases: BTreeMap::new(),
            expired: BTreeSet::new(),
            unseen: BTreeMap::new(),
            interfaces,
            connections: BTreeMap::new(),
            listener,
            signals,
            last_caller: 0,
            next_look: now() + LOOK,
            deaf_until: Moment::ZERO,
            patient_until: now() + FIRST,
            apart: None,
        };
        keeper.resume()?;
        Ok(keeper)
    }

    /// Works until a signal says to end, until another socket has taken the place of the own one and with it the leases, or
    /// unless `stay` until the last lease is gone. Leases that are held stay on disk.
    pub(super) fn run(&mut self, stay: bool) -> Result<(), String> {
        loop {
            let is_apart = self.apart.as_ref().is_some_and(|apart| apart.next <= now());
            if (self.next_look <= now() || is_apart) && !self.is_needed() {
                return Ok(());
            }
            self.tick(now());
            let idle = !stay && self.has_nothing() && self.connections.is_empty();
            let events = self.wait(idle.then_some(self.patient_until))?;
            if idle && events.is_empty() && self.patient_until <= now() {
                return Ok(());
            }
            for event in events {
                match event {
                    Event::Signal => {
                        if self.signals.next().map_err(|cause| cause.to_string())?.is_some() {
                            self.leave();
                            return Ok(());
                        }
                    }
                    Event::Names => {
                        if !self.is_needed() {
                            return Ok(());
                        }
                    }
                    Event::Caller => self.accept(),
                    Event::Said(caller) => self.said(caller),
                    Event::Heard(attachment) => {
                        if let Some(lease) = self.leases.get_mut(&attachment) {
                            let outcome = lease.hear(now());
                            self.follow(&attachment, outcome);
                        }
                    }
                }
            }
        }
    }

    /// Whether nothing is here that would be lost with this keeper. Leases that can't be seen from here are on disk, unless the
    /// directory is another keeper's.
    fn has_nothing(&self) -> bool {
        self.leases.is_empty() && (self.apart.is_none() || self.unseen.is_empty())
    }

    /// Does what is due.
    fn tick(&mut self, now: Moment) {
        let due = |lease: &&Lease| lease.client.wakes().is_some_and(|moment| moment <= now);
        let look = self.next_look <= now;
        if look {
            self.next_look = now + LOOK;
        }
        let attachments: Vec<Attachment> = self
            .leases
            .iter()
            .filter(|(_, lease)| look || due(lease))
            .map(|(attachment, _)| attachment.clone())
            .collect();
        for attachment in attachments {
            if !self.is_alive(&attachment) {
                continue;
            }
            if let Some(lease) = self.leases.get_mut(&attachment) {
                let outcome = lease.client.tick(now);
                self.follow(&attachment, outcome);
            }
        }
        let late: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(caller, _)| *caller)
            .collect();
        for caller in late {
            self.connections.remove(&caller);
        }
    }

    /// Waits for what comes next.
    fn wait(&self, limit: Option<Moment>) -> Result<Vec<Event>, String> {
        let mut events = vec![Event::Signal];
        let mut descriptors = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        if let Some(names) = self.listener.names() {
            events.push(Event::Names);
            descriptors.push(PollFd::from_borrowed_fd(names, PollFlags::IN));
        }
        let is_deaf = self.deaf_until > now();
        if self.connections.len() < MOST_CALLERS && !is_deaf {
            events.push(Event::Caller);
            descriptors.push(PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN));
        }
        for (caller, connection) in &self.connections {
            events.push(Event::Said(*caller));
            descriptors.push(PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN));
        }
        for (attachment, lease) in &self.leases {
            if let Some(socket) = lease.socket() {
                events.push(Event::Heard(attachment.clone()));
                descriptors.push(PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
            }
        }
        let clients = self.leases.values().filter_map(|lease| lease.client.wakes());
        let callers = self.connections.values().filter_map(Connection::deadline);
        let is_blind = self.listener.names().is_none();
        let look = (is_blind || !self.leases.is_empty()).then_some(self.next_look);
        let hears = is_deaf.then_some(self.deaf_until);
        let apart = self.apart.as_ref().map(|apart| apart.next);
        let next = clients.chain(callers).chain(look).chain(apart).chain(hears).chain(limit).min();
        let left = next.map(|moment| moment.saturating_sub(now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut descriptors, left.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(format!("waiting failed: {errno}")),
        }
        let ready: Vec<bool> = descriptors.iter().map(|found| !found.revents().is_empty()).collect();
        Ok(events.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(event, _)| event).collect())
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            // It asks again, where callers come to now.
            Ok(Some(_)) if self.apart.is_some() => {}
            Ok(Some(stream)) => {
                self.last_caller += 1;
                self.connections.insert(self.last_caller, Connection::new(stream, now()));
            }
            Ok(None) => {}
            Err(error) => {
                self.log.line(&format!("a caller can't be heard: {error}"));
                self.deaf_until = now() + DEAF;
            }
        }
    }

    fn said(&mut self, caller: u64) {
        let Some(connection) = self.connections.get_mut(&caller) else { return };
        match connection.read() {
            Arrived::Nothing => {}
            Arrived::Call(call, descriptor) => {
                self.patient_until = Moment::ZERO;
                self.serve(caller, call, descriptor);
            }
            Arrived::End => {
                let connection = self.connections.remove(&caller);
                if let Some(attachment) = connection.and_then(|connection| connection.waits_for) {
                    self.log.line(&format!("{}: the caller is gone", Self::name(&attachment)));
                    self.release(&attachment);
                }
            }
        }
    }
}

impl Keeper<'_> {
    /// What is said to a lease's caller and in the log about an outcome.
    fn follow(&mut self, attachment: &Attachment, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Send(outgoing) => {
                let sent = self.leases.get_mut(attachment).map(|lease| lease.send(&outgoing));
                if let Some(Err(error)) = sent {
                    self.log.line(&format!("{}: {error}", Self::name(attachment)));
                }
            }
            Outcome::Bound => self.bound(attachment),
            Outcome::Failed(reason) => self.failed(attachment, &reason),
            Outcome::Expired => self.expire(attachment),
        }
    }
}
