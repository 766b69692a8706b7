//! Network namespaces: opened by path with a check of what the path is, and entered on a thread made for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

/// The magic number of the file system that namespaces are files of (magic.h, `NSFS_MAGIC`).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Why a namespace can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The path can't be opened.
    #[error("opening it failed")]
    Open(#[source] Errno),
    /// The path is something else, such as a file that took the namespace's place.
    #[error("it is not a namespace")]
    NotANamespace,
    /// It is the namespace that the caller is in.
    #[error("it is the host's own network namespace")]
    OwnNamespace,
    /// It can't be entered.
    #[error("entering it failed")]
    Enter(#[source] Errno),
    /// The thread that enters it can't be made.
    #[error("making a thread failed")]
    Thread(#[source] io::Error),
    /// The thread that entered it ended badly.
    #[error("the thread inside it ended early")]
    Died,
}

impl NamespaceError {
    /// Whether the namespace does not exist (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self, NamespaceError::Open(Errno::NOENT | Errno::SRCH))
            || matches!(self, NamespaceError::NotANamespace)
    }
}

/// A network namespace, held open.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Opens the namespace at a path such as `/proc/PID/ns/net`; it must not be the caller's own.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        let namespace = Self::open_any(path)?;
        let own = rustix::fs::stat("/proc/thread-self/ns/net").map_err(NamespaceError::Open)?;
        let this = rustix::fs::fstat(&namespace.file).map_err(NamespaceError::Open)?;
        if (own.st_dev, own.st_ino) == (this.st_dev, this.st_ino) {
            return Err(NamespaceError::OwnNamespace);
        }
        Ok(namespace)
    }

    /// Opens the namespace at a path, even the caller's own.
    pub fn open_any(path: &Path) -> Result<Self, NamespaceError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(NamespaceError::Open)?);
        Self::from_file(file)
    }

    /// Takes a namespace that somebody has opened.
    pub fn from_file(file: File) -> Result<Self, NamespaceError> {
        let magic = rustix::fs::fstatfs(&file).map_err(NamespaceError::Open)?.f_type;
        if u64::try_from(magic) != Ok(NSFS_MAGIC) {
            return Err(NamespaceError::NotANamespace);
        }
        Ok(Self { file })
    }

    /// What tells it apart from all others while it exists: device and inode.
    pub fn identity(&self) -> Result<(u64, u64), NamespaceError> {
        let found = rustix::fs::fstat(&self.file).map_err(NamespaceError::Open)?;
        Ok((found.st_dev, found.st_ino))
    }

    /// Runs a function inside the namespace, on a thread of its own that ends with it: the calling thread never
    /// leaves its namespace. Files below `/proc/sys/net` that the function opens are the namespace's.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        std::thread::scope(|scope| {
            let inside = std::thread::Builder::new().name("netns".into()).stack_size(256 << 10).spawn_scoped(
                scope,
                || {
                    let fd = self.file.as_fd();
                    rustix::thread::move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))
                        .map_err(NamespaceError::Enter)?;
                    Ok(function())
                },
            );
            inside.map_err(NamespaceError::Thread)?.join().map_err(|_| NamespaceError::Died)?
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Namespace {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_opened() {
        let gone = Namespace::open(Path::new("/proc/0/ns/net")).expect_err("no such process");
        assert!(gone.is_gone());
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        assert!(matches!(Namespace::open(file.path()), Err(NamespaceError::NotANamespace)));
        let own = Namespace::open(Path::new("/proc/self/ns/net"));
        assert!(matches!(own, Err(NamespaceError::OwnNamespace)));
        Namespace::open_any(Path::new("/proc/self/ns/net")).expect("any may be opened");
    }
}
