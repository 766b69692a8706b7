//! Failures as the store words them.

use std::io;

use loam_model::{ErrorKind, Failure};

/// A failure of a system call or of the standard library: the kind follows the error number.
pub(crate) fn failed(what: impl Into<String>, error: impl Into<io::Error>) -> Failure {
    let error = error.into();
    let kind = kind_of(&error);
    let failure = Failure::new(kind, what);
    let failure = match kind {
        ErrorKind::Exhausted => failure.hint("free some space, for example by removing images"),
        _ => failure,
    };
    failure.caused_by(error)
}

/// What a source said that can't be right.
pub(crate) fn invalid(what: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, what)
}

/// The failure that travels inside an [`io::Error`], or the error itself with this sentence before it.
pub(crate) fn unwrap_io(error: io::Error, what: impl FnOnce() -> String) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => match kind_of(&error) {
            // A decoder's complaint about its input has no error number.
            ErrorKind::Internal if error.raw_os_error().is_none() => invalid(what()).caused_by(error),
            _ => failed(what(), error),
        },
    }
}

/// The class of an error number.
pub(crate) fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            ErrorKind::Exhausted
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}

/// A name from outside, as it can be shown: bytes that a terminal would act on are escaped, long ones are cut.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(&name[..name.len().min(200)])
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if name.len() > 200 {
        text.push('…');
    }
    text
}
