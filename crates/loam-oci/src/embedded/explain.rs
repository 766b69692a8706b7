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
        Errno::PERM | Errno::ACCESS => ErrorKind::Denied,
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::AGAIN => {
            ErrorKind::Exhausted
        }
        Errno::NOSYS | Errno::OPNOTSUPP | Errno::NODEV => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}
