//! Directories, opened.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

/// Opens a directory for reading.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    open_beneath(CWD, path)
}

/// Opens a directory in another one for reading.
pub(crate) fn open_beneath(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}
