//! The socket that callers come to: one of our own, or one that systemd hands over (sd_listen_fds(3)).
//!
//! Whoever has the lock of the directory of leases may give a socket its name, and nobody else does, so that there is one
//! keeper at most. A name of our own can be taken away all the same, by who tidies up or by another program; then nobody would
//! find the keeper any more. So the directory is watched (inotify(7)), and looked at once in a while where that is not to be had.

use std::fs;
use std::io;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Mode;

use super::lock::Lock;
use super::names::Names;
use super::records::{self, Records};
use super::step;
use crate::ask::connect_within;

/// The first descriptor that systemd hands over.
const FIRST: i32 = 3;
/// How long a keeper that is just starting or ending is waited for, and how often it is looked at.
const OTHERS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// A socket that is listened on, locked against other keepers.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    /// The name of a socket that we have made.
    own: Option<Own>,
    lock: Lock,
    /// The path of the socket, whoever has made it.
    path: PathBuf,
    /// What had that path when this began to listen.
    named: Option<Identity>,
    /// Tells of changes beside it.
    names: Option<Names>,
}

#[derive(Debug)]
struct Own {
    path: PathBuf,
    made: Identity,
}

/// What came of opening a socket.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is ours, with the directory of its leases.
    Ours(Listener, Records),
    /// Somebody else listens there.
    Taken,
}

/// What has become of a socket's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It leads to the socket.
    Firm,
    /// It or the directory of leases was gone, and is there anew.
    Anew,
    /// It is another's, or the directory of leases is.
    Lost,
}

/// How many sockets systemd hands over, by `LISTEN_PID` and `LISTEN_FDS`.
pub(super) fn handed_over(variable: impl Fn(&str) -> Option<String>) -> usize {
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
    let is_meant = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| is_meant).unwrap_or_default();
    usize::try_from(count).unwrap_or_default()
}

impl Listener {
    fn new(listener: UnixListener, own: Option<Own>, lock: Lock, path: &Path) -> Self {
        let names = path.parent().and_then(Names::watch);
        Self { listener, own, lock, path: path.to_owned(), named: identity(path).ok(), names }
    }

    /// Listens on the one socket that systemd has handed over.
    pub(super) fn take_over() -> Result<Opened, String> {
        let failed = |cause: std::io::Error| format!("taking over the socket of systemd failed: {cause}");
        let descriptor = loam_sys::duplicate_inherited(FIRST).map_err(failed)?;
        let listener = UnixListener::from(descriptor);
        let address = listener.local_addr().map_err(failed)?;
        let path = address.as_pathname().ok_or("the socket of systemd is not one with a path")?;
        let records = Records::open(records::directory(path))?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(match Lock::take(records.path())? {
            Some(lock) => Opened::Ours(Self::new(listener, None, lock, path), records),
            None => Opened::Taken,
        })
    }

    /// Makes a socket and listens on it, once nobody else does.
    pub(super) fn open(path: &Path) -> Result<Opened, String> {
        let records = Records::open(records::directory(path))?;
        let deadline = Instant::now() + OTHERS;
        loop {
            match connect_within(path, OTHERS) {
                Ok(_) => return Ok(Opened::Taken),
                // Somebody listens there, even if it has no time.
                Err(cause) if cause.kind() == ErrorKind::TimedOut => return Ok(Opened::Taken),
                Err(_) => {}
            }
            if let Some(lock) = Lock::take(records.path())? {
                let (listener, own) = make(path)?;
                return Ok(Opened::Ours(Self::new(listener, Some(own), lock, path), records));
            }
            if Instant::now() >= deadline {
                return Err(format!("another keeper has locked `{}`", records.path().display()));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What wakes up when names beside the socket's change.
    pub(super) fn names(&self) -> Option<BorrowedFd<'_>> {
        self.names.as_ref().map(AsFd::as_fd)
    }

    /// The path of the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether who calls at the path calls here.
    pub(super) fn is_called(&self) -> bool {
        self.named.is_some_and(|named| identity(&self.path).is_ok_and(|found| found == named))
    }

    /// Looks whether the name still leads to the socket and the directory of leases is ours, and makes anew what is gone. A
    /// socket of systemd's has its name from there.
    pub(super) fn stand(&mut self) -> Result<Standing, String> {
        if let Some(names) = &self.names {
            names.forget();
        }
        let is_named = match &self.own {
            None => true,
            Some(own) => match identity(&own.path) {
                Ok(found) if found == own.made => true,
                Ok(_) => return Ok(Standing::Lost),
                Err(cause) if cause.kind() == ErrorKind::NotFound => false,
                Err(cause) => return Err(step("looking at", &own.path, cause)),
            },
        };
        if is_named && self.lock.is_in_place() {
            return Ok(Standing::Firm);
        }
        if !self.hold()? {
            return Ok(Standing::Lost);
        }
        if !is_named {
            let (listener, own) = make(&self.path)?;
            (self.listener, self.named, self.own) = (listener, Some(own.made), Some(own));
        }
        self.names = self.path.parent().and_then(Names::watch);
        Ok(Standing::Anew)
    }

    /// Has the directory of leases, which is made anew when it is gone; says whether it could be had, and no other keeper has it.
    pub(super) fn hold(&mut self) -> Result<bool, String> {
        if self.lock.is_in_place() {
            return Ok(true);
        }
        let directory = records::directory(&self.path);
        records::make(&directory)?;
        let Some(lock) = Lock::take(&directory)? else { return Ok(false) };
        self.lock = lock;
        Ok(true)
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
        if let Some(own) = &self.own
            && identity(&own.path).is_ok_and(|found| found == own.made)
        {
            // Somebody may have taken it away since.
            drop(fs::remove_file(&own.path));
        }
    }
}

/// Makes a socket in place of whatever has its name, for whoever has the lock.
fn make(path: &Path) -> Result<(UnixListener, Own), String> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(step("replacing", path, cause)),
        _ => {}
    }
    // For the owner alone from the first moment.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound.map_err(|cause| step("listening on", path, cause))?;
    listener.set_nonblocking(true).map_err(|cause| step("listening on", path, cause))?;
    let made = identity(path).map_err(|cause| step("looking at", path, cause))?;
    Ok((listener, Own { path: path.to_owned(), made }))
}

/// A file's device and inode, which tell it from another one under its name.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
