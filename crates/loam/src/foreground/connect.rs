//! Connecting the standard streams.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use loam_model::Streams;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat, major, minor};
use rustix::stdio::{stderr, stdin, stdout};

/// Our ends of pipes whose other ends the engine gets, for streams that must be copied.
#[derive(Debug, Default)]
pub(super) struct Relays {
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
    /// Whether standard output is itself a pipe that the shim writes to.
    pub(super) watch: bool,
}

/// An output: the end for the engine, and ours if it must be copied.
enum Output {
    Unwanted,
    Direct(OwnedFd),
    Copied(PipeReader, OwnedFd),
}

/// Connects the streams. A terminal's output all comes on one.
pub(super) fn connect(with_stdin: bool, terminal: bool) -> io::Result<(Streams, Relays)> {
    let (mut streams, mut relays) = (Streams::default(), Relays::default());
    if with_stdin {
        match direct(stdin(), OFlags::RDONLY) {
            Some(pipe) => streams.stdin = Some(pipe),
            None => {
                let (reader, writer) = io::pipe()?;
                streams.stdin = Some(reader.into());
                relays.stdin = Some(writer);
            }
        }
    }
    match output(stdout())? {
        Output::Unwanted => {}
        Output::Direct(pipe) => {
            streams.stdout = Some(pipe);
            relays.watch = true;
        }
        Output::Copied(ours, theirs) => {
            streams.stdout = Some(theirs);
            relays.stdout = Some(ours);
        }
    }
    if !terminal {
        match output(stderr())? {
            Output::Unwanted => {}
            Output::Direct(pipe) => streams.stderr = Some(pipe),
            Output::Copied(ours, theirs) => {
                streams.stderr = Some(theirs);
                relays.stderr = Some(ours);
            }
        }
    }
    Ok((streams, relays))
}

fn output(stream: BorrowedFd<'static>) -> io::Result<Output> {
    if is_null(stream) {
        return Ok(Output::Unwanted);
    }
    if let Some(pipe) = direct(stream, OFlags::WRONLY) {
        return Ok(Output::Direct(pipe));
    }
    let (reader, writer) = io::pipe()?;
    Ok(Output::Copied(reader, writer.into()))
}

/// A descriptor for the same pipe, if the stream is one, that shares no flags with ours: the shim makes its own
/// non-blocking, and ours belongs to others as well.
fn direct(stream: BorrowedFd<'static>, mode: OFlags) -> Option<OwnedFd> {
    let kind = FileType::from_raw_mode(fstat(stream).ok()?.st_mode);
    if kind != FileType::Fifo {
        return None;
    }
    // Non-blocking, because opening a pipe that has no other end would wait for one.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).ok()?;
    let mut options = OpenOptions::new();
    options.read(mode == OFlags::RDONLY).write(mode == OFlags::WRONLY).custom_flags(flags);
    let pipe: File = options.open(format!("/proc/self/fd/{}", stream.as_raw_fd())).ok()?;
    let flags = fcntl_getfl(&pipe).ok()?;
    fcntl_setfl(&pipe, flags - OFlags::NONBLOCK).ok()?;
    Some(pipe.into())
}

/// Whether the stream is `/dev/null` (character device 1, 3).
fn is_null(stream: BorrowedFd<'static>) -> bool {
    fstat(stream).is_ok_and(|status| {
        FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
            && (major(status.st_rdev), minor(status.st_rdev)) == (1, 3)
    })
}
