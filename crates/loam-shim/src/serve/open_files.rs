//! The limit on open files: as the shim got it, and as it raises it for itself.
//!
//! The shim needs some descriptors for each process and each client. Programs that it runs, and containers whose
//! configuration names no limit, get the limit that the shim was started with: old ones can't cope with more.

use loam_model::oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process};
use loam_model::{ErrorKind, Failure, Result};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

/// The most clients at once.
const MOST_CLIENTS: usize = 512;

/// More descriptors than serving one request, or a call of the runtime, needs for a moment.
const MARGIN: u64 = 64;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFiles {
    inherited: Rlimit,
    raised: Rlimit,
}

impl OpenFiles {
    /// Raises the soft limit to the hard one.
    pub(super) fn raise() -> std::result::Result<Self, Errno> {
        let inherited = rustix::process::getrlimit(Resource::Nofile);
        let raised = Rlimit { current: inherited.maximum, maximum: inherited.maximum };
        rustix::process::setrlimit(Resource::Nofile, raised)?;
        Ok(Self { inherited, raised })
    }

    /// How many clients may be connected at once.
    pub(super) fn most_clients(&self) -> usize {
        let quarter = soft(&self.raised) / 4;
        usize::try_from(quarter).unwrap_or(MOST_CLIENTS).min(MOST_CLIENTS)
    }

    /// Refuses a further process when its descriptors would be missing for clients, without which nobody could end the
    /// container.
    pub(super) fn check_for_process(&self, clients: usize) -> Result<()> {
        let reserve = self.most_clients().saturating_sub(clients) as u64 + MARGIN;
        // A limit too small for that says nothing.
        if has_below(soft(&self.raised).saturating_sub(reserve).max(MARGIN)) {
            return Ok(());
        }
        let message = "the shim has too many files open for another process in the container";
        Err(Failure::new(ErrorKind::Exhausted, message)
            .hint("end processes that were started with exec, or raise the limit on open files"))
    }

    /// Lets something run programs with the limit that the shim was started with, unless it has more open than that.
    pub(super) fn as_inherited<T>(&self, work: impl FnOnce() -> T) -> T {
        let lowered = has_below(soft(&self.inherited).saturating_sub(MARGIN))
            && rustix::process::setrlimit(Resource::Nofile, self.inherited).is_ok();
        let result = work();
        if lowered {
            // Up to the hard limit, which has not changed, anybody may.
            rustix::process::setrlimit(Resource::Nofile, self.raised).ok();
        }
        result
    }

    /// Gives a process that has no such limit of its own the one that the shim was started with.
    pub(super) fn hand_down(&self, process: &mut Process) {
        let mut limits = process.rlimits().clone().unwrap_or_default();
        if limits.iter().any(|limit| limit.typ() == PosixRlimitType::RlimitNofile) {
            return;
        }
        limits.push(limit(&self.inherited));
        process.set_rlimits(Some(limits));
    }
}

fn soft(limit: &Rlimit) -> u64 {
    limit.current.unwrap_or(u64::MAX)
}

/// Whether a descriptor below this number is free: the kernel always gives the lowest.
fn has_below(number: u64) -> bool {
    let lowest = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0);
    lowest.is_ok_and(|lowest| {
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&lowest);
        u64::try_from(lowest).is_ok_and(|lowest| lowest < number)
    })
}

fn limit(inherited: &Rlimit) -> PosixRlimit {
    PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(soft(inherited))
        .hard(inherited.maximum.unwrap_or(u64::MAX))
        .build()
        .expect("every member of a limit has a default")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(soft: u64, hard: u64) -> OpenFiles {
        let limit = |current| Rlimit { current: Some(current), maximum: Some(hard) };
        OpenFiles { inherited: limit(soft), raised: limit(hard) }
    }

    #[test]
    fn a_process_has_its_own_limit_or_the_one_that_the_shim_got() {
        let mut process = Process::default();
        process.set_rlimits(None);
        files(1000, 2000).hand_down(&mut process);
        files(7, 8).hand_down(&mut process);
        let limits = process.rlimits().clone().unwrap();
        assert_eq!(limits.len(), 1);
        assert_eq!((limits[0].soft(), limits[0].hard()), (1000, 2000));
    }

    #[test]
    fn clients_have_descriptors_reserved() {
        assert_eq!((files(1024, 524_288).most_clients(), files(100, 1024).most_clients()), (512, 256));
        files(1024, 524_288).check_for_process(0).unwrap();
        // Few are open in a test: with many, the rest is for clients.
        let mut many = Vec::new();
        let failure = loop {
            match files(100, 120).check_for_process(0) {
                Err(failure) => break failure,
                Ok(()) => many.push(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0).unwrap()),
            }
        };
        assert_eq!(failure.kind(), ErrorKind::Exhausted, "after {}", many.len());
    }
}
