//! From the kernel's error numbers to failures.

use loam_model::{ErrorKind, Failure, Result};
use rustix::io::Errno;

/// Says what was being done when a system call failed.
pub(super) trait Explain<T> {
    /// Makes a failure with the message that `doing` gives, and the system's words as its cause.
    fn explain(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Explain<T> for rustix::io::Result<T> {
    fn explain(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| failure(errno, doing()))
    }
}

impl<T> Explain<T> for std::io::Result<T> {
    fn explain(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => failure(errno, doing()),
            None => Failure::new(ErrorKind::Internal, doing()).caused_by(error),
        })
    }
}

/// Makes a failure of an error number.
pub(super) fn failure(errno: Errno, message: String) -> Failure {
    Failure::new(kind(errno), message).caused_by(std::io::Error::from(errno))
}

fn kind(errno: Errno) -> ErrorKind {
    match errno {
        // What clone(2) says when there are as many processes as there may be.
        Errno::AGAIN => ErrorKind::Exhausted,
        // A file system that the kernel does not have.
        Errno::NODEV | Errno::OPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::of_io(&errno.into()),
    }
}
