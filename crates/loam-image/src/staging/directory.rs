//! Directories: made, opened, listed, and looked for again.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use loam_model::Result;
use rustix::fs::{Mode, OFlags};

use crate::error::failed;

/// Makes a directory that only the store enters, with those above it.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed(format!("the directory `{}` can't be made", path.display()), error))
}

/// Opens a directory that is not the store's: a link to one will do.
pub(crate) fn open_directory_of_others(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Whether this open file is still what the path names.
pub(crate) fn is_at(fd: &OwnedFd, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (rustix::fs::fstat(fd), rustix::fs::lstat(path)) else { return false };
    (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
}

/// What is in a directory; nothing when it can't be read.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
