//! A container that was created: what is kept of it in memory. Nothing is ever read from its bundle again.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use loam_model::oci_spec::runtime::{Hook, LinuxPersonality, Spec};
use loam_model::{ErrorKind, Failure, Result, Stats};
use loam_sys::Spawned;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::ThreadNameSpaceType;

use super::channel::{Channel, Message};
use super::explain::Explain;
use super::hook::HookState;
use super::init_plan::InitPlan;
use super::namespaces::Mappings;
use crate::Cgroup;
use crate::seccomp::Filter;

/// `SIGKILL`.
pub(super) const KILL: i32 = 9;
/// How many seconds a killed process may take to die before it is given up.
const PATIENCE: i64 = 30;
/// How long the process may take to become the user's program, after the hooks before that.
const START: Duration = Duration::from_secs(30);

/// A created container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// Open as long as the program was not started.
    channel: Option<Channel>,
    pub(super) cgroup: Cgroup,
    pub(super) namespaces: ThreadNameSpaceType,
    pub(super) mappings: Mappings,
    pub(super) filter: Option<Filter>,
    pub(super) personality: Option<LinuxPersonality>,
    pub(super) paused: bool,
    state: HookState,
    after_start: Vec<Hook>,
    after_stop: Vec<Hook>,
}

impl Container {
    /// Keeps of the plan what is needed later; the rest, with all descriptors in it, is let go.
    pub(super) fn new(spec: &Spec, child: Spawned, cgroup: Cgroup, channel: Channel, plan: InitPlan) -> Self {
        let hooks = spec.hooks().clone().unwrap_or_default();
        Self {
            pid: child.pid,
            pidfd: child.pidfd,
            channel: Some(channel),
            cgroup,
            namespaces: plan.namespaces.own,
            mappings: plan.mappings,
            filter: plan.filter,
            personality: spec.linux().as_ref().and_then(|linux| linux.personality().clone()),
            paused: false,
            state: plan.state,
            after_start: hooks.poststart().clone().unwrap_or_default(),
            after_stop: hooks.poststop().clone().unwrap_or_default(),
        }
    }

    /// Lets the program run.
    pub(super) fn start(&mut self) -> Result<()> {
        let Some(channel) = self.channel.take() else {
            return Err(Failure::new(ErrorKind::Conflict, "the container was started before"));
        };
        if self.has_ended() {
            return Err(Failure::new(ErrorKind::Conflict, "the container ended before its start"));
        }
        channel.send(&Message::Start)?;
        match channel.receive_within(START, self.pidfd.as_fd())? {
            None => {}
            Some(Message::Failed(failure)) => return Err(failure),
            Some(_) => {
                return Err(Failure::new(ErrorKind::Internal, "the container's process did not start"));
            }
        }
        let after = self.state.run(&self.after_start, "running", Some(self.pid), &[]);
        if after.is_err() {
            // The specification wants a container whose hook failed to be stopped.
            loam_sys::send_signal(self.pidfd.as_fd(), KILL).ok();
        }
        after
    }

    /// Whether the main process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.wait_for_end(0)
    }

    /// Waits until the main process has ended; whether it has. Does not reap it, which is the shim's.
    fn wait_for_end(&self, seconds: i64) -> bool {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, Some(&limit)))
            .is_ok_and(|count| count > 0)
    }

    /// Sends a signal to the main process, or to all.
    pub(super) fn signal(&mut self, signal: i32, all: bool) -> Result<()> {
        if all {
            self.cgroup.signal_all(signal)?;
        } else if self.has_ended() {
            return Err(Failure::new(ErrorKind::Conflict, "the container's main process has ended"));
        } else {
            loam_sys::send_signal(self.pidfd.as_fd(), signal)
                .explain(|| format!("sending the signal `{signal}` to the container failed"))?;
        }
        if signal == KILL { self.thaw() } else { Ok(()) }
    }

    /// Lets a paused container go on, so that it can die: in version 1 hierarchies it could not.
    fn thaw(&mut self) -> Result<()> {
        if std::mem::take(&mut self.paused) { self.cgroup.thaw() } else { Ok(()) }
    }

    /// Reads the kernel's figures: those of the cgroup and, when it has one of its own, of the network namespace.
    pub(super) fn stats(&self) -> Result<Stats> {
        let mut stats = self.cgroup.stats()?;
        if self.namespaces.contains(ThreadNameSpaceType::NETWORK)
            && let Ok(table) = std::fs::read_to_string(format!("/proc/{}/net/dev", self.pid))
        {
            let (received, sent) = network_bytes(&table);
            stats.network_received = Some(received);
            stats.network_sent = Some(sent);
        }
        Ok(stats)
    }

    /// Kills all and removes all.
    pub(super) fn delete(&mut self) -> Result<()> {
        let mut failures = Vec::new();
        let lives = !self.has_ended();
        if lives {
            loam_sys::send_signal(self.pidfd.as_fd(), KILL).ok();
        }
        // A process that waits for the start goes away by itself with this.
        self.channel = None;
        if lives {
            failures.extend(self.thaw().err());
            if !self.wait_for_end(PATIENCE) {
                let message = "the container's main process does not die";
                return Err(Failure::new(ErrorKind::Unavailable, message));
            }
        }
        failures.extend(self.cgroup.remove().err());
        if let Some(failure) = Failure::join(failures) {
            return Err(failure);
        }
        for hook in std::mem::take(&mut self.after_stop) {
            // The container is gone all the same.
            if let Err(failure) = self.state.run(&[hook], "stopped", None, &[]) {
                tracing::warn!("after the container: {}", failure.chain());
            }
        }
        Ok(())
    }
}

/// Adds up the bytes of all devices but loopback in a `/proc/net/dev`: received and sent.
fn network_bytes(table: &str) -> (u64, u64) {
    let device = |line: &str| {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<u64> =
            figures.split_ascii_whitespace().map_while(|text| text.parse().ok()).collect();
        (name.trim() != "lo").then_some((*figures.first()?, *figures.get(8)?))
    };
    let add = |(received, sent): (u64, u64), device: (u64, u64)| (received + device.0, sent + device.1);
    table.lines().filter_map(device).fold((0, 0), add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_all_devices_are_added_up() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n\
                         lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  \
                       eth0: 100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\n  \
                       eth1:1 2 0 0 0 0 0 0 2 3 0 0 0 0 0 0\n";
        assert_eq!(network_bytes(table), (101, 202));
    }
}
