//! The directories that mounts of every container go to.

use std::os::fd::OwnedFd;

use loam_model::{Failure, IdMapping, Result};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::{as_container_root, kind_of};

/// Directories that every root file system has, whatever the image says: mounts go there.
const STANDARD_DIRECTORIES: [&str; 4] = ["dev", "proc", "sys", "etc"];

/// Makes the standard directories where they are missing, as the container's root. A symbolic link in their place
/// stays: the runtime refuses it.
pub fn make_standard_directories(root: &OwnedFd, mapping: Option<&IdMapping>) -> Result<()> {
    let missing = STANDARD_DIRECTORIES.into_iter().filter(|name| {
        rustix::fs::statat(root, *name, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|errno| errno == Errno::NOENT)
    });
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    as_container_root(mapping, || {
        for name in missing {
            match rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
                Err(errno) => {
                    let message = format!("`/{name}` can't be made in the root file system");
                    return Err(Failure::new(kind_of(errno), message).caused_by(errno));
                }
            }
        }
        Ok(())
    })?
}
