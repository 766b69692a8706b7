//! The blob's bytes on their way to the helper.

use std::io::{BufRead, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use loam_model::Failure;

use super::pulse::Pulse;
use crate::error::unwrap_io;
use crate::intake::Intake;

/// Writes all bytes into the pipe and closes it; fails when they can't be had. That the helper has enough is no failure:
/// it says itself what it makes of them.
pub(super) fn feed(
    intake: &mut Intake<'_>,
    pipe: OwnedFd,
    stop: &AtomicBool,
    pulse: &Pulse,
) -> Result<(), Failure> {
    let mut pipe = std::fs::File::from(pipe);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new(loam_model::ErrorKind::Conflict, "the pull was given up"));
        }
        let piece = pulse.at_source(|| intake.fill_buf());
        let piece = piece.map_err(|error| unwrap_io(error, || "the data can't be read".to_owned()))?;
        if piece.is_empty() {
            return Ok(());
        }
        match pipe.write(piece) {
            Ok(count) => {
                pulse.taken();
                intake.consume(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The Rust runtime ignores SIGPIPE.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(crate::error::failed("the unpacker can't be fed", error)),
        }
    }
}
