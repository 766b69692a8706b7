//! The socket that callers come to: one of our own, or one that systemd hands over (sd_listen_fds(3)).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, flock};

use super::records::{self, Records};
use super::step;

/// The first descriptor that systemd hands over.
const FIRST: i32 = 3;
/// How long a keeper that is just starting or ending is waited for, and how often it is looked at.
const OTHERS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// A socket that is listened on, locked against other keepers.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    /// The path of a socket that we have made.
    own: Option<(PathBuf, Identity)>,
    _lock: File,
}

/// What came of opening a socket.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is ours, with the directory of its leases.
    Ours(Listener, Records),
    /// Somebody else listens there.
    Taken,
}

/// How many sockets systemd hands over, by `LISTEN_PID` and `LISTEN_FDS`.
pub(super) fn handed_over(variable: impl Fn(&str) -> Option<String>) -> usize {
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
    let is_meant = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| is_meant).unwrap_or_default();
    usize::try_from(count).unwrap_or_default()
}

impl Listener {
    /// Listens on the one socket that systemd has handed over.
    pub(super) fn take_over() -> Result<Opened, String> {
        let failed = |cause: std::io::Error| format!("taking over the socket of systemd failed: {cause}");
        let descriptor = loam_sys::duplicate_inherited(FIRST).map_err(failed)?;
        let listener = UnixListener::from(descriptor);
        let address = listener.local_addr().map_err(failed)?;
        let path = address.as_pathname().ok_or("the socket of systemd is not one with a path")?;
        let records = Records::open(records::directory(path))?;
        Ok(match lock(&records)? {
            Some(lock) => Opened::Ours(Self::new(listener, None, lock)?, records),
            None => Opened::Taken,
        })
    }

    /// Makes a socket and listens on it, once nobody else does.
    pub(super) fn open(path: &Path) -> Result<Opened, String> {
        let records = Records::open(records::directory(path))?;
        let deadline = Instant::now() + OTHERS;
        loop {
            if UnixStream::connect(path).is_ok() {
                return Ok(Opened::Taken);
            }
            if let Some(lock) = lock(&records)? {
                return Ok(Opened::Ours(Self::make(path, lock)?, records));
            }
            if Instant::now() >= deadline {
                return Err(format!("another keeper has locked `{}`", records.path().display()));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn make(path: &Path, lock: File) -> Result<Self, String> {
        match fs::remove_file(path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(step("replacing", path, cause)),
            _ => {}
        }
        // For the owner alone from the first moment.
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = bound.map_err(|cause| step("listening on", path, cause))?;
        let made = identity(path).map_err(|cause| step("looking at", path, cause))?;
        Self::new(listener, Some((path.to_owned(), made)), lock)
    }

    fn new(listener: UnixListener, own: Option<(PathBuf, Identity)>, lock: File) -> Result<Self, String> {
        listener.set_nonblocking(true).map_err(|cause| format!("setting up the socket failed: {cause}"))?;
        Ok(Self { listener, own, _lock: lock })
    }

    /// The next caller; `None` when nobody waits, or it is nobody who may call.
    pub(super) fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = match self.listener.accept() {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) =>
            {
                return Ok(None);
            }
            accepted => accepted?,
        };
        stream.set_nonblocking(true)?;
        let caller = rustix::net::sockopt::socket_peercred(&stream)?.uid;
        Ok((caller.is_root() || caller == rustix::process::geteuid()).then_some(stream))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Listener {
    /// The lock is let go after this.
    fn drop(&mut self) {
        if let Some((path, made)) = &self.own
            && identity(path).is_ok_and(|found| found == *made)
        {
            // Somebody may have taken it away since.
            drop(fs::remove_file(path));
        }
    }
}

/// A file's device and inode, which tell it from another one under its name.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Locks a directory of leases; `None` when another keeper has it.
fn lock(records: &Records) -> Result<Option<File>, String> {
    let path = records.path().join("lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|cause| step("opening", &path, cause))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(step("locking", &path, errno)),
    }
}
