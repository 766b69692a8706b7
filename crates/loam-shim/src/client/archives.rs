//! Archives, made and unpacked by an archive process: the shim's program in another role.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

use loam_model::{ArchiveHold, ArchiveRequest, ErrorKind, Failure, Result};

use super::launch::connection_pair;
use super::program::Program;
use crate::protocol::{self, Reply, Request};

/// How much is copied at once.
const PIECE: usize = 64 * 1024;

/// Lets an archive process make a tar stream, and hands it on.
pub(super) fn copy_out(
    program: &Program,
    request: &ArchiveRequest,
    hold: Option<ArchiveHold<'_>>,
    sink: &mut (dyn Write + Send),
) -> Result<()> {
    let (ours, theirs) = connection_pair()?;
    let mut command = program.command()?;
    command.arg("archive-out").stdin(Stdio::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = ArchiveProcess(command.spawn().map_err(|error| program.failure(error))?);
    drop(command);
    child.finish(|child| {
        ask(&ours, request, child, hold)?;
        let mut stream = child.stdout.take().ok_or_else(|| io::Error::other("no stream"));
        let copied = stream
            .as_mut()
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|stream| copy(stream, sink));
        drop(stream);
        // Reading from the process does not fail; when the sink did, it can only say that nobody listens.
        copied.map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("the archive of `{}` can't be written", request.path))
                .caused_by(error)
        })?;
        receive(&ours)
    })
}

/// Hands a tar stream to an archive process, which unpacks it.
pub(super) fn copy_in(
    program: &Program,
    request: &ArchiveRequest,
    hold: Option<ArchiveHold<'_>>,
    source: &mut (dyn Read + Send),
) -> Result<()> {
    let (ours, theirs) = connection_pair()?;
    let mut command = program.command()?;
    command.arg("archive-in").stdin(Stdio::piped()).stdout(Stdio::from(theirs)).stderr(Stdio::null());
    let child = ArchiveProcess(command.spawn().map_err(|error| program.failure(error))?);
    drop(command);
    child.finish(|child| {
        ask(&ours, request, child, hold)?;
        let mut stream = child
            .stdin
            .take()
            .ok_or_else(|| Failure::new(ErrorKind::Internal, "the archive process has no stream"))?;
        let copied = copy(source, &mut stream);
        drop(stream);
        match copied {
            // The process has heard enough, and says why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(ErrorKind::Internal, "the archive can't be read").caused_by(error))
            }
            _ => receive(&ours),
        }
    })
}

/// An archive process that is killed and waited for, whatever happens.
struct ArchiveProcess(Child);

impl ArchiveProcess {
    fn finish(mut self, work: impl FnOnce(&mut Child) -> Result<()>) -> Result<()> {
        let result = work(&mut self.0);
        // One that has answered ends by itself; another has nothing left to do.
        if result.is_err() {
            match self.0.kill() {
                Ok(()) | Err(_) => {}
            }
        }
        match self.0.wait() {
            Ok(_) | Err(_) => result,
        }
    }
}

fn copy(source: &mut (impl Read + ?Sized), sink: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return sink.flush(),
            Ok(count) => sink.write_all(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends the request, with what the process alone is to hold from then on.
fn ask(
    socket: &OwnedFd,
    request: &ArchiveRequest,
    child: &Child,
    hold: Option<ArchiveHold<'_>>,
) -> Result<()> {
    let mut held = None;
    if let Some(ArchiveHold { descriptor, started }) = hold {
        started(i32::try_from(child.id()).unwrap_or(0));
        held = Some(descriptor);
    }
    let descriptors: Vec<_> = held.iter().map(AsFd::as_fd).collect();
    let request = Request::Archive(Box::new(request.clone()));
    protocol::send(socket.as_fd(), &request, &descriptors).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the archive process can't be asked").caused_by(error)
    })
}

fn receive(socket: &OwnedFd) -> Result<()> {
    match protocol::receive::<Reply>(socket.as_fd()) {
        Ok((Reply::Done, _)) => Ok(()),
        Ok((Reply::Failed(failure), _)) => Err(failure.into()),
        Ok(_) => Err(Failure::new(ErrorKind::Internal, "the archive process gave a strange answer")),
        Err(error) => {
            Err(Failure::new(ErrorKind::Internal, "the archive process ended early").caused_by(error))
        }
    }
}
