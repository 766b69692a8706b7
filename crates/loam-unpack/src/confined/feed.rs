//! The blob's bytes on their way to the helper.

use std::io::{BufRead, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use loam_model::Failure;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::pulse::Pulse;
use crate::error::{failed, unwrap_io};

/// Bytes that may be on their way in the pipe.
const PIPE_SIZE: usize = 512 * 1024;

/// Makes the pipe: its reading and its writing end.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    let made = pipe_with(PipeFlags::CLOEXEC);
    let (read, write) = made.map_err(|error| failed("the unpacker's connection can't be made", error))?;
    // A user may have reached what pipes of one's own may hold; the usual size serves, too.
    fcntl_setpipe_size(&write, PIPE_SIZE).ok();
    Ok((read, write))
}

/// Writes all bytes into the pipe and closes it; fails when they can't be had. That the helper has enough is no failure:
/// it says itself what it makes of them.
pub(super) fn feed(
    input: &mut (dyn BufRead + Send),
    pipe: OwnedFd,
    stop: &AtomicBool,
    pulse: &Pulse,
) -> Result<(), Failure> {
    let mut pipe = std::fs::File::from(pipe);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new(loam_model::ErrorKind::Conflict, "the pull was given up"));
        }
        let piece = pulse.at_source(|| input.fill_buf());
        let piece = piece.map_err(|error| unwrap_io(error, || "the data can't be read".to_owned()))?;
        if piece.is_empty() {
            return Ok(());
        }
        match pipe.write(piece) {
            Ok(count) => {
                pulse.took(count);
                input.consume(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The Rust runtime ignores SIGPIPE.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(failed("the unpacker can't be fed", error)),
        }
    }
}
