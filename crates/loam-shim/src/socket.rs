//! The socket that clients connect to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::magic_link;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::protocol::SOCKET_NAME;

/// How long a client waits until a shim takes its connection, or its message.
#[cfg(not(test))]
const PATIENCE: Duration = Duration::from_secs(60);
#[cfg(test)]
const PATIENCE: Duration = Duration::from_millis(50);
/// How many clients wait to be accepted before the next one has to.
const QUEUE: i32 = 64;

/// A listening socket in the container's run directory.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Makes the socket, mode 0600. One that a dead shim left is replaced.
    pub(crate) fn new(run_directory: &Path) -> Result<Self> {
        Self::bind(run_directory).map_err(|errno| {
            let path = run_directory.join(SOCKET_NAME);
            let kind = if errno == Errno::ADDRINUSE { ErrorKind::AlreadyExists } else { ErrorKind::Internal };
            Failure::new(kind, format!("the socket `{}` can't be made", path.display())).caused_by(errno)
        })
    }

    fn bind(run_directory: &Path) -> std::result::Result<Self, Errno> {
        let directory = open_directory(run_directory)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let address = socket_address(&directory)?;
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let mut bound = rustix::net::bind(&socket, &address);
        if bound == Err(Errno::ADDRINUSE) && matches!(connect(&directory), Err(Errno::CONNREFUSED)) {
            rustix::fs::unlinkat(&directory, SOCKET_NAME, AtFlags::empty())?;
            bound = rustix::net::bind(&socket, &address);
        }
        rustix::process::umask(before);
        bound?;
        rustix::net::listen(&socket, QUEUE)?;
        Ok(Self(socket))
    }

    /// Takes the next client that may speak to us. A failure says that one may be waiting all the same.
    pub(crate) fn accept(&self) -> std::result::Result<Option<OwnedFd>, Errno> {
        loop {
            match rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) if is_allowed(&socket) => return Ok(Some(socket)),
                Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is_allowed(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// Connects to the shim whose run directory this is.
pub(crate) fn connect_in(run_directory: &Path) -> std::result::Result<OwnedFd, Errno> {
    connect(&open_directory(run_directory)?)
}

fn connect(directory: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // A shim that accepts nobody any more would hold up whoever comes after its queue is full.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &socket_address(directory)?)?;
    Ok(socket)
}

fn open_directory(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// An address has room for 107 bytes, so a path through the directory's descriptor stands for the long one.
fn socket_address(directory: &OwnedFd) -> std::result::Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("{}/{SOCKET_NAME}", magic_link(directory)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x".repeat(150));
        std::fs::create_dir(&path).unwrap();
        assert_eq!(connect_in(&path).unwrap_err(), Errno::NOENT);
        drop(Listener::new(&path).unwrap());
        assert_eq!(connect_in(&path).unwrap_err(), Errno::CONNREFUSED);
        let live = Listener::new(&path).unwrap();
        let mode = std::fs::metadata(path.join(SOCKET_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        connect_in(&path).unwrap();
        assert!(live.accept().unwrap().is_some());
        assert!(live.accept().unwrap().is_none());
        assert_eq!(Listener::new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_shim_that_accepts_nobody_holds_nobody_up_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let _accepts_nobody = Listener::new(directory.path()).unwrap();
        let waiting: Vec<_> = (0..=QUEUE).map(|_| connect_in(directory.path()).unwrap()).collect();
        assert_eq!(connect_in(directory.path()).unwrap_err(), Errno::AGAIN, "after {}", waiting.len());
    }
}
