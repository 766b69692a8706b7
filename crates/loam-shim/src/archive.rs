//! Files out of and into a container, as tar streams: the other role of the shim's program.
//!
//! Everything in the container is hostile, and may change while it is looked at. Paths are resolved by the kernel
//! beneath a descriptor of the container's root, without magic links, and everything below them is opened step by step
//! from directory descriptors, never following a link. For a running container the root is that of its main process,
//! so that its mounts are seen; else the root file system is mounted in a private mount namespace. Owners in the
//! archive are the container's ids.
//!
//! The archive process gets its request over a socket and answers there when it is done. Out: standard input is the socket,
//! standard output the stream. In: the other way round.

mod pack;
mod root;
mod unpack;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use loam_model::{ArchiveRequest, Failure, Result};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::protocol::{self, Reply, Request};
use root::Root;

/// The most memory of an archive process; an archive with endless headers ends here.
const MAX_MEMORY: u64 = 1 << 30;

/// Runs the process that makes an archive.
pub fn archive_out() -> ExitCode {
    run(rustix::stdio::stdin(), |request| {
        let root = Root::open(request)?;
        pack::pack(&root, &request.path, duplicate(rustix::stdio::stdout())?)
    })
}

/// Runs the process that unpacks an archive.
pub fn archive_in() -> ExitCode {
    run(rustix::stdio::stdout(), |request| {
        let root = Root::open(request)?;
        unpack::unpack(&root, &request.path, duplicate(rustix::stdio::stdin())?)
    })
}

fn run(socket: BorrowedFd<'_>, work: impl FnOnce(&ArchiveRequest) -> Result<()>) -> ExitCode {
    if settle_in().is_err() {
        return ExitCode::FAILURE;
    }
    // What came along is held until the end.
    let Ok((Request::Archive(request), _held)) = protocol::receive::<Request>(socket) else {
        return ExitCode::FAILURE;
    };
    let reply = Reply::from_result(work(&request));
    match protocol::send(socket.as_fd(), &reply, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn settle_in() -> std::result::Result<(), Errno> {
    loam_sys::close_from(3).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let limit = Rlimit { current: Some(MAX_MEMORY), maximum: Some(MAX_MEMORY) };
    rustix::process::setrlimit(Resource::As, limit)?;
    rustix::process::chdir("/")
}

fn duplicate(descriptor: BorrowedFd<'_>) -> Result<File> {
    let own: std::result::Result<OwnedFd, Errno> = rustix::io::fcntl_dupfd_cloexec(descriptor, 3);
    own.map(File::from).map_err(|errno| {
        Failure::new(loam_model::ErrorKind::Internal, "the archive's stream can't be used").caused_by(errno)
    })
}
