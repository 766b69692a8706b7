//! Failures with a sentence before their cause, of the kind that the seam tells; the image store words its own with them, too.

use std::io;

use loam_model::{ErrorKind, Failure};

/// A failure of a system call or of the standard library: the kind follows the error number.
pub fn failed(what: impl Into<String>, error: impl Into<io::Error>) -> Failure {
    let error = error.into();
    let kind = kind_of(&error);
    let failure = Failure::new(kind, what);
    let failure = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.hint("free some space, for example by removing images")
        }
        _ => failure,
    };
    failure.caused_by(error)
}

/// What a source said that can't be right.
pub fn invalid(what: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, what)
}

/// The failure that travels inside an [`io::Error`], or the error itself with this sentence before it.
pub fn unwrap_io(error: io::Error, what: impl FnOnce() -> String) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => match kind_of(&error) {
            // A decoder's complaint about its input has no error number.
            ErrorKind::Internal if error.raw_os_error().is_none() => invalid(what()).caused_by(error),
            _ => failed(what(), error),
        },
    }
}

/// The class of an error: here a missing file is the thing that somebody named.
pub(crate) fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::of_io(error),
    }
}

/// Puts a sentence before a failure.
pub fn wrap(failure: Failure, what: &str) -> Failure {
    failure.within(what)
}
