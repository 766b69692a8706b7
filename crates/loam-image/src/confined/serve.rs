//! The helper, from inside: the whole of the program `loam-unpack`.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use loam_model::{ErrorKind, Failure};
use loam_packet::{PacketError, WireFailure, receive, send};
use loam_sys::features;

use super::confinement::confine;
use super::protocol::{Answer, Job, Report, Request};
use super::{Unpacker, VERSION};
use crate::staging::Destination;
use crate::stream::{Means, decode_and_unpack};
use crate::unpack::{Budget, Spent, UnpackError};

/// Bytes that are read from the pipe at once.
const BUFFER_SIZE: usize = 256 * 1024;

/// Unpacks one layer as the other end of standard input says, confined. The process must have one thread.
pub fn serve_unpacker() -> ExitCode {
    // Whoever has started this has checked the names.
    let without = std::env::var(features::VARIABLE).unwrap_or_default();
    if features::turn_off(&without).is_err() || loam_sys::close_from(3).is_err() {
        return ExitCode::FAILURE;
    }
    match serve(rustix::stdio::stdin()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(control: BorrowedFd<'_>) -> Result<(), PacketError> {
    let (job, descriptors) = receive::<Job>(control)?;
    let Ok([data, files, split]) = <[OwnedFd; 3]>::try_from(descriptors) else {
        return Err(PacketError::Closed);
    };
    if job.version != VERSION {
        let message = format!("the unpacker is of version {VERSION}, and {} is wanted", job.version);
        let failure = Failure::new(ErrorKind::Unavailable, message)
            .hint("install `loam-unpack` and `loam` of one release");
        return send(control, &Request::Failed(WireFailure::new(&failure)), &[]);
    }
    let request = match confine(files) {
        Ok(files) => {
            let destination = Destination { files, split: split.into() };
            unpack(control, &job, data, destination)
        }
        Err(failure) => Request::Failed(WireFailure::new(&failure)),
    };
    match send(control, &request, &[]) {
        Err(PacketError::TooLong) => {
            let message = "its directories and its hard links to other layers are too many to be told";
            let failure = Failure::new(ErrorKind::Invalid, job.what.as_str()).caused_by(message);
            send(control, &Request::Failed(WireFailure::new(&failure)), &[])
        }
        sent => sent,
    }
}

fn unpack(control: BorrowedFd<'_>, job: &Job, data: OwnedFd, destination: Destination) -> Request {
    let budget = match control.try_clone_to_owned() {
        Ok(control) => Budget::granted(job.space, move |spent| ask(control.as_fd(), spent)),
        Err(error) => {
            let failure = crate::error::failed(job.what.clone(), error);
            return Request::Failed(WireFailure::new(&failure));
        }
    };
    let means = Means {
        budget: &budget,
        stop: &AtomicBool::new(false),
        algorithm: job.algorithm,
        own_thread: job.own_thread,
        unpacker: &Unpacker::InProcess,
    };
    let input = BufReader::with_capacity(BUFFER_SIZE, File::from(data));
    // One at a time: descriptors on their way count against a limit that all processes of a user share.
    let mark_opaque = |directory: BorrowedFd<'_>| {
        send(control, &Request::Opaque, &[directory]).map_err(io::Error::other)?;
        match receive::<Answer>(control).map_err(io::Error::other)?.0 {
            Answer::Marked => Ok(()),
            Answer::Space(_) => Err(io::Error::other("the pull gave an answer to another question")),
        }
    };
    match decode_and_unpack(input, job.compression, destination, means, &mark_opaque) {
        Ok(done) => Request::Done(Box::new(Report::new(done, budget.untold()))),
        Err(error) => Request::Failed(WireFailure::new(&error.into_failure(job.what.clone()))),
    }
}

/// Asks what is free.
fn ask(control: BorrowedFd<'_>, spent: Spent) -> Result<crate::space::Space, UnpackError> {
    let gone = |error: PacketError| {
        UnpackError::Source(Failure::new(ErrorKind::Internal, "the pull has ended").caused_by(error))
    };
    send(control, &Request::Space(spent), &[]).map_err(gone)?;
    match receive::<Answer>(control).map_err(gone)?.0 {
        Answer::Space(space) => Ok(space),
        Answer::Marked => Err(gone(PacketError::Closed)),
    }
}
