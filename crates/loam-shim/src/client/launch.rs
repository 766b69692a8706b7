//! Starting a shim.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use loam_model::{ErrorKind, Failure, Result, ShimLaunch};

use super::connection::{PROMPT, wait_for};
use super::program::Program;
use crate::protocol::{self, Reply, Request};

/// Shims that this process has launched and that may have ended since. A command that ends leaves them to the
/// system's first process; one that stays takes note of their ends whenever it launches another.
#[derive(Debug, Default)]
pub(super) struct Children(Mutex<Vec<Child>>);

impl Children {
    fn add(&self, child: Child) {
        let mut children = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        children.push(child);
    }
}

/// Two ends of a connection that keeps messages apart.
pub(super) fn connection_pair() -> Result<(OwnedFd, OwnedFd)> {
    loam_packet::pair().map_err(|errno| {
        Failure::new(ErrorKind::Exhausted, "the shim's connection can't be made").caused_by(errno)
    })
}

/// Starts the program with one end of a connection as its standard input, and waits until its socket exists. The
/// program makes itself independent: its own session, no descriptors and no environment of ours.
pub(super) fn launch(program: &Program, children: &Children, launch: &ShimLaunch) -> Result<OwnedFd> {
    let (ours, theirs) = connection_pair()?;
    let broken = |error: protocol::PacketError| {
        let message = format!("the shim of container `{}` ended before it was ready", launch.id);
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    };
    protocol::send(ours.as_fd(), &Request::Launch(Box::new(launch.clone())), &[]).map_err(broken)?;
    let mut command = program.command()?;
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| program.failure(error))?;
    // The command holds the other end, without which the end of the program would not be seen.
    drop(command);
    if !wait_for(&ours, PROMPT).map_err(|errno| broken(errno.into()))? {
        // It has made nothing yet that its death would leave behind.
        let _ended_meanwhile = child.kill().and_then(|()| child.wait()).is_err();
        let message = format!("the shim of container `{}` does not answer", launch.id);
        return Err(Failure::new(ErrorKind::Unavailable, message));
    }
    children.add(child);
    match protocol::receive::<Reply>(ours.as_fd()).map_err(broken)?.0 {
        Reply::Done => Ok(ours),
        Reply::Failed(failure) => Err(failure.into()),
        _ => Err(Failure::new(ErrorKind::Internal, "the shim gave an answer to another question")),
    }
}
