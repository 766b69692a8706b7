//! The standard streams of a process, on the way from the shim's caller to the process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use loam_model::{ProcessStdio, Result, TerminalSize};
use rustix::fs::{FileType, Gid, Uid};

use super::explain::Explain;
use super::namespaces::Mappings;
use super::process_plan::ProcessPlan;

/// The standard streams that a process gets.
#[derive(Debug)]
pub(super) enum Streams {
    /// Those of a new terminal.
    Terminal(TerminalSize),
    /// These: input, output, errors; none with a number below three.
    Descriptors([OwnedFd; 3]),
}

impl Streams {
    /// The descriptors, when there is no terminal.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let descriptors = match self {
            Streams::Terminal(_) => [].as_slice(),
            Streams::Descriptors(descriptors) => descriptors.as_slice(),
        };
        descriptors.iter().map(AsFd::as_fd)
    }
}

/// Gets a process's streams ready: pipes belong to its user, so that it can open `/dev/stdout` and its like.
pub(super) fn prepare(stdio: ProcessStdio, plan: &ProcessPlan, mappings: &Mappings) -> Result<Streams> {
    let (stdin, stdout, stderr) = match stdio {
        ProcessStdio::Terminal(size) => return Ok(Streams::Terminal(size)),
        ProcessStdio::Descriptors { stdin, stdout, stderr } => (stdin, stdout, stderr),
    };
    let (user, group) = mappings.to_host(plan.user, plan.group)?;
    let ready = |descriptor: OwnedFd| -> rustix::io::Result<OwnedFd> {
        if FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode) == FileType::Fifo {
            // Whoever made the pipe may have forbidden that; it can still be used as it is.
            rustix::fs::fchown(&descriptor, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).ok();
        }
        if descriptor.as_raw_fd() > 2 {
            Ok(descriptor)
        } else {
            rustix::io::fcntl_dupfd_cloexec(&descriptor, 3)
        }
    };
    let ready = |descriptor| ready(descriptor).explain(|| "preparing the standard streams failed".to_owned());
    Ok(Streams::Descriptors([ready(stdin)?, ready(stdout)?, ready(stderr)?]))
}
