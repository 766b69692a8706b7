//! Unpacking by a process that can do nothing else.
//!
//! A layer's bytes are a stranger's, and they are decompressed, read as an archive and made into files of any owner, which
//! takes rights. So this is done by the program `loam-unpack`, one process for each layer: the layer's directory is its
//! root, it has the capabilities to own files and no others, it can make just the system calls for that, and it knows of
//! nothing but one pipe, one file and one socket. What it can do when the bytes get the better of it is to fill that
//! directory with what it likes, within what is free ([`ledger`]), and to lie about it: the layer of an image whose blob has the right
//! digest then has other contents. It reaches neither the host, nor the network, nor other layers.
//!
//! The archives that hold whole images are read likewise ([`members`]).
//!
//! The process that pulls does not take its word for what it uses ([`ledger`]) or that it gets on ([`pulse`]), and keeps what is
//! worth having: the connection to the registry, the digest of the blob, the budget,
//! the database. The two speak as follows, over a socket that keeps messages apart ([`protocol`]): a job with three
//! descriptors one way (the blob's pipe, the layer's directory, the file for the record of its tar); questions for space
//! and at last a report the other way. Either end of the socket ends with its process, and then the other one does.

mod calls;
mod confinement;
mod feed;
mod launch;
mod ledger;
mod members;
mod protocol;
mod pulse;
mod serve;
mod trouble;

use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use loam_model::{ErrorKind, Failure};
use loam_packet::{PacketError, receive, send};
use rustix::fs::Mode;
pub use serve::serve_unpacker;

use crate::decompress::Compression;
use crate::error::failed;
use crate::stream::{Destination, Means, UnpackResult};
use crate::threads;
use crate::unpack::{Budget, UnpackError, mark_opaque};
use launch::Helper;
use ledger::Ledger;
pub(crate) use members::find_members;
use protocol::{Answer, Job, Report, Request, Work};
use pulse::{Heard, Pulse, Watch};
use trouble::{Trouble, slow, stuck};

/// Who unpacks layers.
#[derive(Clone, Debug)]
pub enum Unpacker {
    /// This program, `loam-unpack`, confined.
    Confined(PathBuf),
    /// This process, with the rights that it has: for copies by those who may not confine a process, and for tests.
    InProcess,
}

/// Unpacks what is left of a blob with the program. `what` is the beginning of messages.
pub(crate) fn unpack(
    input: &mut (dyn BufRead + Send),
    compression: Compression,
    destination: Destination,
    (means, program): (Means<'_>, &std::path::Path),
    what: &str,
) -> UnpackResult {
    let again = |error| failed("the record of the layer's tar can't be opened", error);
    let split = destination.split.try_clone().map_err(again)?;
    let files = destination
        .files
        .try_clone()
        .map_err(|error| failed("the layer's directory can't be opened", error))?;
    let (read, pipe) = feed::pipe()?;
    let work =
        Work::Layer { algorithm: means.algorithm, own_thread: means.own_thread, space: means.budget.first() };
    let job = Job::new(compression, what, work);
    let descriptors = [read.as_fd(), destination.files.as_fd(), destination.split.as_fd()];
    let mut helper = Helper::start(program, &job, &descriptors)?;
    // It has them; what this process keeps of the pipe is the end that is written to.
    drop((read, destination));
    let pulse = Pulse::default();
    let (fed, heard) = std::thread::scope(|scope| {
        let feeding = threads::start(scope, || feed::feed(input, pipe, means.stop, &pulse))?;
        let heard = listen(&helper, means.budget, &pulse, (&files, &split));
        // It has said what it had to say. If it has not taken all bytes, the feeding waits for it.
        helper.kill();
        Ok::<_, Failure>((feeding.join().expect("feeding does not panic"), heard))
    })?;
    // Without all bytes the helper complains of what it has got; that they did not come is the truer cause.
    fed?;
    match heard {
        Ok(report) => {
            // The helper may own files, and this one is not the layer's.
            rustix::fs::fchmod(&split, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| failed("the record of the layer's tar can't be kept", errno))?;
            Ok(report.into())
        }
        Err(Trouble::Said(error)) => Err(error),
        Err(Trouble::Broken(error)) => Err(helper.end(error).into()),
    }
}

/// Answers the helper's questions until it reports, and looks after what it does with its directory and its record.
fn listen(
    helper: &Helper,
    budget: &Budget,
    pulse: &Pulse,
    (files, split): (&OwnedFd, &File),
) -> Result<Report, Trouble<UnpackError>> {
    let (mut ledger, mut watch) = (Ledger::new(budget, pulse), Watch::new(pulse));
    loop {
        match watch.wait(helper.control()).map_err(PacketError::from)? {
            Heard::Word => {}
            Heard::Tick => {
                ledger.look().map_err(Trouble::Said)?;
                continue;
            }
            Heard::Stuck => {
                return Err(Trouble::Said(Failure::new(ErrorKind::Unavailable, stuck()).into()));
            }
            Heard::Slow => {
                return Err(Trouble::Said(Failure::new(ErrorKind::Unavailable, slow()).into()));
            }
        }
        let (request, descriptors) = receive::<Request>(helper.control())?;
        match request {
            Request::Opaque => {
                // Whatever it is, it is the helper's, which has nothing but its layer.
                let directory = descriptors.first().ok_or(PacketError::Closed)?;
                mark_opaque(directory.as_fd())
                    .map_err(|error| failed("a directory can't be made opaque", error))
                    .map_err(|failure| Trouble::Said(failure.into()))?;
                send(helper.control(), &Answer::Marked, &[])?;
            }
            Request::Space(spent) => {
                watch.told(spent);
                let space = ledger.tell(spent).map_err(Trouble::Said)?;
                send(helper.control(), &Answer::Space(space), &[])?;
            }
            Request::Done(report) => {
                let record = split
                    .metadata()
                    .map_err(|error| failed("the record of the layer's tar can't be looked at", error))
                    .map_err(|failure| Trouble::Said(failure.into()))?;
                let closed = ledger.close(&report, files.as_fd(), record.len());
                return closed.map(|()| *report).map_err(Trouble::Said);
            }
            Request::Failed(failure) => return Err(Trouble::Said(UnpackError::Source(failure.into()))),
            Request::Members(_) => return Err(Trouble::Broken(PacketError::Closed)),
        }
    }
}

#[cfg(test)]
mod tests;
