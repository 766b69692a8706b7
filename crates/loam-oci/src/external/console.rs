//! Taking over the master of a terminal from a runtime program (runc's `--console-socket`).

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use loam_model::{ErrorKind, Failure, Result, TerminalSize};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::termios::Winsize;

use super::remove;

/// The longest path that a socket's address holds.
const MAX_ADDRESS: usize = 107;
/// The device number of `/dev/ptmx`, which every master has.
const PTMX: (u32, u32) = (5, 2);
/// As much of the terminal's name, which the message also carries, as is taken.
const MAX_NAME: usize = 4096;

/// A socket at which a master is awaited.
#[derive(Debug)]
pub(super) struct Console {
    listener: UnixListener,
    socket: PathBuf,
    path: PathBuf,
    size: TerminalSize,
    /// Keeps `path` valid when it leads through this descriptor.
    _directory: Option<File>,
}

impl Console {
    /// Listens in the directory.
    pub(super) fn listen(directory: &Path, size: TerminalSize) -> Result<Self> {
        let socket = directory.join("runtime.sock");
        remove(&socket)?;
        let failed = |error: io::Error| {
            let message = format!("listening at `{}` for a terminal failed", socket.display());
            Failure::new(ErrorKind::Internal, message).caused_by(error)
        };
        let (path, keep) = if socket.as_os_str().len() <= MAX_ADDRESS {
            (socket.clone(), None)
        } else {
            // An address is short: name the directory by a descriptor of this process, which root can follow.
            let open = File::open(directory).map_err(failed)?;
            (format!("/proc/{}/fd/{}/runtime.sock", std::process::id(), open.as_raw_fd()).into(), Some(open))
        };
        let listener = UnixListener::bind(&path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, socket: socket.clone(), path, size, _directory: keep })
    }

    /// The path for the program.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes readable when the program connects.
    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Takes the master, makes sure that it is one, and gives it its size.
    pub(super) fn receive(&self, deadline: Instant) -> Result<OwnedFd> {
        let failed = |error: io::Error| {
            Failure::new(ErrorKind::Internal, "taking over the terminal from the runtime failed")
                .caused_by(error)
        };
        wait_for(self.listener.as_fd(), deadline).map_err(failed)?;
        let (stream, _) = self.listener.accept().map_err(failed)?;
        wait_for(stream.as_fd(), deadline).map_err(failed)?;
        let master = receive_one(stream.as_fd()).map_err(failed)?;
        if !is_master(master.as_fd()) {
            return Err(Failure::new(ErrorKind::Internal, "what the runtime handed over is not a terminal"));
        }
        let TerminalSize { rows, columns } = self.size;
        if rows > 0 && columns > 0 {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&master, size).map_err(|error| failed(error.into()))?;
        }
        Ok(master)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Left behind, it goes with the run directory.
        let _harmless = std::fs::remove_file(&self.socket);
    }
}

fn wait_for(descriptor: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut one = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        match rustix::event::poll(&mut one, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes a message with exactly one descriptor.
fn receive_one(stream: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut name = [0; MAX_NAME];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    match <[OwnedFd; 1]>::try_from(descriptors) {
        Ok([master]) => Ok(master),
        Err(others) => Err(io::Error::other(format!("{} descriptors came, not one", others.len()))),
    }
}

fn is_master(descriptor: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(descriptor).is_ok_and(|status| {
        let number = (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev));
        FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && number == PTMX
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use rustix::pty::OpenptFlags;

    use super::*;

    const SIZE: TerminalSize = TerminalSize { rows: 33, columns: 99 };

    fn send(path: &Path, descriptors: &[BorrowedFd<'_>]) {
        let stream = UnixStream::connect(path).expect("connected");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        let name = io::IoSlice::new(b"/dev/ptmx");
        rustix::net::sendmsg(&stream, &[name], &mut control, SendFlags::empty()).expect("sent");
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_master_is_taken_and_sized() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let console = Console::listen(directory.path(), SIZE).expect("listening");
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        send(console.path(), &[master.as_fd()]);
        let taken = console.receive(soon()).expect("taken");
        let size = rustix::termios::tcgetwinsize(&taken).expect("a terminal");
        assert_eq!((size.ws_row, size.ws_col), (33, 99));
        drop(console);
        assert!(!directory.path().join("runtime.sock").exists());
    }

    #[test]
    fn what_is_not_one_master_is_refused() {
        let deep = tempfile::tempdir().expect("a temporary directory");
        let deep = deep.path().join("d".repeat(120));
        std::fs::create_dir_all(&deep).expect("made");
        let console = Console::listen(&deep, SIZE).expect("listening in spite of the long path");
        let null = File::open("/dev/null").expect("there");
        send(console.path(), &[null.as_fd()]);
        assert!(console.receive(soon()).is_err(), "not a terminal");
        send(console.path(), &[null.as_fd(), null.as_fd()]);
        assert!(console.receive(soon()).is_err(), "two descriptors");
        assert!(console.receive(Instant::now()).is_err(), "nobody");
    }
}
