//! The session of a new process: no terminal but its own, its streams, and none of the shim's keys.

use std::os::fd::AsFd;

use loam_model::Result;
use rustix::io::Errno;

use super::explain::Explain;
use super::identity::LabelFiles;
use super::streams::Streams;
use super::terminal::set_streams;

/// Makes this process the leader of a new session with these streams; those of a terminal come with it, later.
pub(super) fn begin(streams: &Streams, labels: &LabelFiles) -> Result<()> {
    let failed = || "making a session failed".to_owned();
    rustix::process::setsid().explain(failed)?;
    if let Streams::Descriptors([stdin, stdout, stderr]) = streams {
        set_streams(stdin.as_fd(), stdout.as_fd(), stderr.as_fd()).explain(failed)?;
    }
    labels.around_keyring(new_keyring)
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
