//! The helper, from inside: the whole of the program `loam-unpack`.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use loam_model::{ErrorKind, Failure};
use loam_packet::{PacketError, WireFailure, receive, send};
use loam_sys::features;

use super::Unpacker;
use super::confinement::confine;
use super::protocol::{Answer, Job, Report, Request, Work};
use crate::decompress::Compression;
use crate::error::failed;
use crate::members;
use crate::space::Space;
use crate::stream::{Destination, Means, decode_and_unpack};
use crate::unpack::{Budget, Spent, UnpackError};

/// Bytes that are read from the pipe at once.
const BUFFER_SIZE: usize = 256 * 1024;

/// Unpacks one layer, or looks through one archive, as the other end of standard input says, confined. The process must have one thread.
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
    let Ok([data, root, beside]) = <[OwnedFd; 3]>::try_from(descriptors) else {
        return Err(PacketError::Closed);
    };
    let request = match job.check_version().and_then(|()| confine(root)) {
        Err(failure) => Request::Failed(WireFailure::new(&failure)),
        Ok(root) => match job.work {
            Work::Layer { .. } => {
                unpack(control, &job, data, Destination { files: root, split: beside.into() })
            }
            Work::Archive { most } => find_members(&job, data.into(), beside.into(), most),
        },
    };
    match send(control, &request, &[]) {
        Err(PacketError::TooLong) => {
            let message = match job.work {
                Work::Layer { .. } => {
                    "its directories and its hard links to other layers are too many to be told"
                }
                Work::Archive { .. } => "the names of its members are too long to be told",
            };
            let failure = Failure::new(ErrorKind::Invalid, job.what.as_str()).caused_by(message);
            send(control, &Request::Failed(WireFailure::new(&failure)), &[])
        }
        sent => sent,
    }
}

/// Decompresses an archive of images where that is needed, and finds its members.
fn find_members(job: &Job, archive: File, mut plain: File, most: u64) -> Request {
    let found = match job.compression {
        Compression::None => members::list_members(archive, &job.what),
        compression => members::decompress(archive, compression, (&mut plain, most), &job.what)
            .and_then(|()| members::list_members(plain, &job.what)),
    };
    match found {
        Ok(members) => {
            Request::Members(members.into_iter().map(|(name, (offset, size))| (name, offset, size)).collect())
        }
        Err(failure) => Request::Failed(WireFailure::new(&failure)),
    }
}

fn unpack(control: BorrowedFd<'_>, job: &Job, data: OwnedFd, destination: Destination) -> Request {
    let Work::Layer { algorithm, own_thread, space } = job.work else {
        unreachable!("it was looked at");
    };
    let budget = match control.try_clone_to_owned() {
        Ok(control) => Budget::granted(space, move |spent| ask(control.as_fd(), spent)),
        Err(error) => {
            let failure = failed(job.what.clone(), error);
            return Request::Failed(WireFailure::new(&failure));
        }
    };
    let means = Means {
        budget: &budget,
        stop: &AtomicBool::new(false),
        algorithm,
        own_thread,
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
fn ask(control: BorrowedFd<'_>, spent: Spent) -> Result<Space, UnpackError> {
    let gone = |error: PacketError| {
        UnpackError::Source(Failure::new(ErrorKind::Internal, "the pull has ended").caused_by(error))
    };
    send(control, &Request::Space(spent), &[]).map_err(gone)?;
    match receive::<Answer>(control).map_err(gone)?.0 {
        Answer::Space(space) => Ok(space),
        Answer::Marked => Err(gone(PacketError::Closed)),
    }
}
