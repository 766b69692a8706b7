//! Trying out whether a file system has space left.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::reserve::{PORTION, allocate};

/// Allocates a portion in a file without a name; the portion is free again when the file is closed.
pub(crate) fn try_out(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?;
    allocate(file.as_fd(), PORTION)?;
    Ok(file)
}

/// Whether it was for space that something failed.
pub(crate) fn is_lack<T>(tried: &io::Result<T>) -> bool {
    tried.as_ref().is_err_and(is_lack_of_space)
}

/// The same of an error.
pub(crate) fn is_lack_of_space(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Whether it was for space in `directory` that SQLite failed.
pub(crate) fn was_full(directory: &Path, error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(DiskFull) => true,
        // So it calls a quota that is used up.
        Some(SystemIoFailure) => is_lack(&try_out(directory)),
        _ => false,
    }
}
