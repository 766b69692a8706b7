//! The helper's process, from outside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use loam_model::{ErrorKind, Failure};
use loam_packet::{PacketError, send};
use loam_sys::features;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::protocol::Job;
use super::pulse::PATIENCE;
use crate::error::failed;

/// A helper at work. When this ends, so does its process.
pub(super) struct Helper {
    program: PathBuf,
    control: OwnedFd,
    child: Child,
}

impl Helper {
    /// Starts the program with a job, and hands it these descriptors.
    pub(super) fn start(program: &Path, job: &Job, descriptors: &[BorrowedFd<'_>]) -> Result<Self, Failure> {
        let lacking = |error: rustix::io::Errno| failed("the unpacker's connection can't be made", error);
        let (control, theirs) = loam_packet::pair().map_err(lacking)?;
        // One that asks and asks and takes no answer does nothing, too.
        set_socket_timeout(&control, Timeout::Send, Some(PATIENCE)).map_err(lacking)?;
        let mut command = Command::new(program);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
        let turned_off = features::turned_off();
        if !turned_off.is_empty() {
            command.env(features::VARIABLE, turned_off);
        }
        let child = command.spawn().map_err(|error| not_run(program, error))?;
        let helper = Self { program: program.to_owned(), control, child };
        match send(helper.control(), job, descriptors) {
            Ok(()) => Ok(helper),
            Err(error) => Err({ helper }.end(error)),
        }
    }

    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    pub(super) fn kill(&mut self) {
        // One that has ended already is as good.
        self.child.kill().ok();
    }

    /// Why a helper that does not answer any more does not.
    pub(super) fn end(&mut self, error: PacketError) -> Failure {
        let message = format!("the unpacker `{}` gave no answer", self.program.display());
        let failure = Failure::new(ErrorKind::Internal, message);
        let PacketError::Closed = error else {
            self.kill();
            return failure.caused_by(error);
        };
        match self.child.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => failure.caused_by(format!("signal {signal} ended it")),
                None => failure.caused_by(format!("it ended with {status}")),
            },
            Err(error) => failure.caused_by(error),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
        self.child.wait().ok();
    }
}

fn not_run(program: &Path, error: io::Error) -> Failure {
    let message = format!("the unpacker `{}` can't be run", program.display());
    let failure = Failure::new(ErrorKind::Unavailable, message);
    let failure = match error.kind() {
        io::ErrorKind::NotFound => failure.hint("install `loam-unpack` beside `loam`"),
        _ => failure,
    };
    failure.caused_by(error)
}
