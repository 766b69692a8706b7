//! The files of a cgroup.

use std::io;
use std::path::{Path, PathBuf};

use super::CgroupError;

/// The directory of a checked cgroup path below a mount.
pub(super) fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })
}

/// Writes a value in one write(2), without making the file.
pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| rustix::io::write(&file, value.as_bytes()).map_err(io::Error::from));
    match written {
        Ok(_) => Ok(()),
        Err(source) => Err(CgroupError::Write { path: path.to_owned(), value: value.to_owned(), source }),
    }
}
