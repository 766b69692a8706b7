//! The place of one entry, and what is made there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result, shown_bytes};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, both};
use crate::archive::root::failure;

/// Where an entry goes: a directory, and a name in it that is a single component.
pub(super) struct Place<'a> {
    pub(super) parent: &'a OwnedFd,
    pub(super) name: &'a OsStr,
    pub(super) path: &'a Path,
}

impl Place<'_> {
    pub(super) fn failure(&self, what: &str, errno: Errno) -> Failure {
        failure(self.path.as_os_str().as_bytes(), what, errno)
    }

    /// Removes what is in the way; a directory is not.
    pub(super) fn make_way(&self) -> Result<()> {
        match rustix::fs::unlinkat(self.parent, self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                let message = format!(
                    "`{}` is a directory in the container",
                    shown_bytes(self.path.as_os_str().as_bytes())
                );
                Err(Failure::new(ErrorKind::Conflict, message))
            }
            Err(errno) => Err(self.failure("replaced", errno)),
        }
    }
}

pub(super) fn add_file(place: &Place<'_>, entry: &mut impl Read, attributes: &Attributes) -> Result<()> {
    place.make_way()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(place.parent, place.name, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| place.failure("made", errno))?;
    let mut file = File::from(file);
    std::io::copy(entry, &mut file).map_err(|error| {
        let message = format!("`{}` can't be written", shown_bytes(place.path.as_os_str().as_bytes()));
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Failure::new(loam_rootfs::kind_of(errno), message).caused_by(error)
    })?;
    let file = OwnedFd::from(file);
    attributes.apply(&file).map_err(|errno| place.failure("set up", errno))?;
    rustix::fs::futimens(&file, &both(attributes.time)).map_err(|errno| place.failure("set up", errno))
}

pub(super) fn add_symlink(place: &Place<'_>, target: &OsStr, attributes: &Attributes) -> Result<()> {
    place.make_way()?;
    rustix::fs::symlinkat(target, place.parent, place.name).map_err(|errno| place.failure("made", errno))?;
    attributes.apply_by_name(place).map_err(|errno| place.failure("set up", errno))
}

pub(super) fn add_fifo(place: &Place<'_>, attributes: &Attributes) -> Result<()> {
    place.make_way()?;
    rustix::fs::mknodat(place.parent, place.name, FileType::Fifo, attributes.mode, 0)
        .map_err(|errno| place.failure("made", errno))?;
    attributes.apply_by_name(place).map_err(|errno| place.failure("set up", errno))
}
