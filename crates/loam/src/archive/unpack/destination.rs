//! The directory of the host that a stream is unpacked into, and what can be done beneath it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, open, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use tar::Header;

/// The directory, open.
#[derive(Debug)]
pub(super) struct Destination {
    directory: OwnedFd,
    keep_owners: bool,
}

/// What is set on a file after it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    mode: u32,
    user: u32,
    group: u32,
    modified: i64,
}

impl Destination {
    /// Opens it.
    pub(super) fn open(directory: &Path, keep_owners: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: open(directory, flags, Mode::empty())?, keep_owners })
    }

    /// What an entry's header asks for, as far as it is granted.
    pub(super) fn attributes(&self, header: &Header) -> io::Result<Attributes> {
        let kept = if self.keep_owners { 0o7777 } else { 0o1777 };
        let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        Ok(Attributes {
            mode: header.mode()? & kept,
            user: id(header.uid()?)?,
            group: id(header.gid()?)?,
            modified: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
        })
    }

    /// Sets owner, mode and time.
    pub(super) fn finish(&self, path: &Path, attributes: &Attributes, has_mode: bool) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        if self.keep_owners {
            let (user, group) = (Uid::from_raw(attributes.user), Gid::from_raw(attributes.group));
            chownat(&parent, &name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if has_mode {
            // By way of a descriptor: chmod of a name follows links.
            let file = self.child(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
            File::from(file).set_permissions(Permissions::from_mode(attributes.mode))?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: attributes.modified, tv_nsec: 0 },
        };
        utimensat(&parent, &name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// The directory that a path is in, opened, and its last component.
    pub(super) fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = match parent {
            Some(parent) => self.child(parent, OFlags::PATH | OFlags::DIRECTORY)?,
            None => self.directory.try_clone()?,
        };
        Ok((directory, name))
    }

    /// A path beneath it, opened.
    pub(super) fn child(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(loam_sys::openat2(&self.directory, path, flags, Mode::empty(), beneath())?)
    }
}

/// How every path is resolved.
pub(super) fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

/// Makes something; what is there already, unless it is a directory, makes room.
pub(super) fn replacing<T>(
    parent: impl AsFd,
    name: &OsStr,
    make: impl Fn() -> rustix::io::Result<T>,
) -> io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            unlinkat(parent, name, AtFlags::empty())?;
            Ok(make()?)
        }
        result => Ok(result?),
    }
}
