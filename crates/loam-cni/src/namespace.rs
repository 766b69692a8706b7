//! Network namespaces: opened by path with a check of what the path is, and entered by the calling thread for a while.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

/// The magic number of the file system that namespaces are files of (magic.h, `NSFS_MAGIC`).
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// The network namespace that the calling thread is in.
const OWN: &str = "/proc/thread-self/ns/net";

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
    /// There would be no way back.
    #[error("the thread's own network namespace can't be opened")]
    NoReturn(#[source] Errno),
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
        let own = rustix::fs::stat(OWN).map_err(NamespaceError::Open)?;
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

    /// Runs a function inside the namespace and returns from it, whatever becomes of the function. Files below
    /// `/proc/sys/net` that the function opens are the namespace's. A thread of its own would take longer to start than
    /// most functions to run.
    pub fn run<T>(&self, function: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let home = rustix::fs::open(OWN, flags, Mode::empty()).map_err(NamespaceError::NoReturn)?;
        enter(self.file.as_fd()).map_err(NamespaceError::Enter)?;
        let _way_back = WayBack { home };
        Ok(function())
    }
}

fn enter(namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// Takes the thread back to its own namespace.
struct WayBack {
    home: OwnedFd,
}

impl Drop for WayBack {
    fn drop(&mut self) {
        // Whatever this thread would do to the host's network from here it would do to a container's: a panic ends
        // the program.
        enter(self.home.as_fd()).expect("who came from a namespace can enter it again");
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

    #[test]
    fn a_thread_is_back_where_it_was_whatever_happens_inside() {
        loam_testkit::lab::inside(
            "namespace::tests::a_thread_is_back_where_it_was_whatever_happens_inside",
            || {
                let other = loam_testkit::lab::Sandbox::new();
                let namespace = Namespace::open(&other.path()).expect("there");
                let here = || std::fs::read_link(OWN).expect("readable");
                let home = here();
                let inside = namespace.run(here).expect("can be entered");
                assert_ne!(inside, home);
                assert_eq!(here(), home);
                let panicked = std::panic::catch_unwind(|| namespace.run(|| panic!("inside")));
                panicked.expect_err("it panicked");
                assert_eq!(here(), home);
            },
        );
    }
}
