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
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::VERSION;
use super::protocol::Job;
use super::pulse::PATIENCE;
use crate::decompress::Compression;
use crate::error::failed;
use crate::staging::Destination;
use crate::stream::Means;

/// Bytes that may be on their way in the pipe.
const PIPE_SIZE: usize = 512 * 1024;

/// A helper at work. When this ends, so does its process.
pub(super) struct Helper {
    program: PathBuf,
    control: OwnedFd,
    child: Child,
}

impl Helper {
    /// Starts the program with a job; gives also the pipe that the blob's bytes go into.
    pub(super) fn start(
        program: &Path,
        compression: Compression,
        destination: Destination,
        means: Means<'_>,
        what: &str,
    ) -> Result<(Self, OwnedFd), Failure> {
        let lacking = |error: rustix::io::Errno| failed("the unpacker's connection can't be made", error);
        let (control, theirs) = loam_packet::pair().map_err(lacking)?;
        // One that asks and asks and takes no answer does nothing, too.
        set_socket_timeout(&control, Timeout::Send, Some(PATIENCE)).map_err(lacking)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(lacking)?;
        // A user may have reached what pipes of one's own may hold; the usual size serves, too.
        fcntl_setpipe_size(&write, PIPE_SIZE).ok();
        let mut command = Command::new(program);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
        let turned_off = features::turned_off();
        if !turned_off.is_empty() {
            command.env(features::VARIABLE, turned_off);
        }
        let child = command.spawn().map_err(|error| not_run(program, error))?;
        let helper = Self { program: program.to_owned(), control, child };
        let job = Job {
            version: VERSION.to_owned(),
            compression,
            algorithm: means.algorithm,
            own_thread: means.own_thread,
            space: means.budget.first(),
            what: what.to_owned(),
        };
        let descriptors = [read.as_fd(), destination.files.as_fd(), destination.split.as_fd()];
        match send(helper.control(), &job, &descriptors) {
            Ok(()) => Ok((helper, write)),
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
