//! What went wrong with the database, by name.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use loam_model::{ErrorKind, Failure};

use crate::trial::was_full;

/// The directory of a file.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// The file can't be made.
pub(crate) fn unmade(path: &Path, error: io::Error) -> Failure {
    let message = format!("the state database `{}` can't be made", path.display());
    Failure::new(ErrorKind::of_io(&error), message).caused_by(error)
}

/// SQLite could not do `what`.
pub(crate) fn failure(path: &Path, what: &str, error: rusqlite::Error) -> Failure {
    if was_full(directory_of(path), &error) {
        let message = format!("no space is left for the state database `{}`", path.display());
        return Failure::new(ErrorKind::Exhausted, message);
    }
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::PermissionDenied) => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    };
    Failure::new(kind, format!("the state database `{}` {what}", path.display())).caused_by(error)
}

/// There is no space for what `directory` has to hold, and the reserve is used up.
pub(crate) fn full(directory: &Path, error: io::Error) -> Failure {
    let message = format!(
        "no space is left for `{}` on the file system at `{}`",
        directory.display(),
        mount_point(directory)
    );
    Failure::new(ErrorKind::Exhausted, message).caused_by(error).hint("free space there")
}

/// What is left is kept for what ends things.
pub(crate) fn refused(directory: &Path) -> Failure {
    let message = format!(
        "nothing more can be made in `{}`: no space is left on the file system at `{}`",
        directory.display(),
        mount_point(directory)
    );
    Failure::new(ErrorKind::Exhausted, message)
        .hint("remove containers and images, or free space there otherwise")
}

/// Where the file system of a directory begins.
fn mount_point(directory: &Path) -> String {
    let device = |path: &Path| std::fs::metadata(path).map(|status| status.dev()).ok();
    let same = |path: &&Path| device(path) == device(directory);
    directory.ancestors().take_while(same).last().unwrap_or(directory).display().to_string()
}
