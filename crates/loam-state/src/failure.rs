//! What went wrong with the database, by name.

use std::io;
use std::path::Path;

use loam_model::{ErrorKind, Failure};

/// The file can't be made.
pub(crate) fn unmade(path: &Path, error: io::Error) -> Failure {
    let message = format!("the state database `{}` can't be made", path.display());
    Failure::new(ErrorKind::of_io(&error), message).caused_by(error)
}

/// SQLite could not do `what`.
pub(crate) fn failure(path: &Path, what: &str, error: rusqlite::Error) -> Failure {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            let message = format!("no space is left for the state database `{}`", path.display());
            return Failure::new(ErrorKind::Exhausted, message);
        }
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::PermissionDenied) => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    };
    Failure::new(kind, format!("the state database `{}` {what}", path.display())).caused_by(error)
}
