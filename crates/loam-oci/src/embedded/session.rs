//! The session of a new process: no terminal but its own, its streams, and none of the shim's keys.

use std::os::fd::{AsFd, BorrowedFd};

use loam_model::Result;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::explain::Explain;
use super::identity::LabelFiles;
use super::streams::Streams;
use super::terminal::set_streams;
use crate::character_device::{NULL, is_character_device};

/// Makes this process the leader of a new session with these streams; those of a terminal come with it, later.
pub(super) fn begin(streams: &Streams, labels: &LabelFiles) -> Result<()> {
    let failed = || "making a session failed".to_owned();
    rustix::process::setsid().explain(failed)?;
    if let Streams::Descriptors([stdin, stdout, stderr]) = streams {
        set_streams(stdin.as_fd(), stdout.as_fd(), stderr.as_fd()).explain(failed)?;
    }
    labels.around_keyring(new_keyring)
}

/// Takes the container's own null device in place of the host's, when that is what this process reads from: what root in a
/// container without a user namespace does to its standard input must not reach the host's. One that has none keeps it.
pub(super) fn take_own_null() -> Result<()> {
    let is_null = |file: BorrowedFd<'_>| is_character_device(file, NULL);
    let replace = || {
        if !is_null(rustix::stdio::stdin())? {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(own) = rustix::fs::open("/dev/null", OFlags::PATH | flags, Mode::empty()) else {
            return Ok(());
        };
        if !is_null(own.as_fd())? {
            return Ok(());
        }
        // Somebody in the container may have put something else there meanwhile.
        match rustix::fs::open("/dev/null", flags, Mode::empty()) {
            Ok(own) if is_null(own.as_fd())? => {
                rustix::fs::fcntl_setfl(&own, OFlags::empty())?;
                rustix::stdio::dup2_stdin(own)
            }
            _ => Ok(()),
        }
    };
    let replaced: rustix::io::Result<()> = replace();
    replaced.explain(|| "opening the container's `/dev/null` failed".to_owned())
}

/// Leaves the keys of whoever started the shim behind.
fn new_keyring() -> Result<()> {
    match loam_sys::join_new_session_keyring() {
        // A kernel without keys has none to leave behind; and a filter around the shim may forbid the call.
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM | Errno::ACCESS)) =>
        {
            Ok(())
        }
        other => other.explain(|| "making a session keyring failed".to_owned()),
    }
}
