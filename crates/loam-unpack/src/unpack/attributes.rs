//! Owner, mode, extended attributes and times.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::UnpackError;
use crate::archive::Entry;

/// The latest and the earliest time that is kept; file systems differ beyond (ext4 ends in 2446).
const TIME_RANGE: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 33);

/// What an entry shall be like, apart from its contents.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timespec,
    /// Only those that a layer may set: see [`allowed`].
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// What a directory gets that no archive lists.
    pub(crate) fn of_implicit_directory() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime: Timespec { tv_sec: 0, tv_nsec: 0 }, xattrs: Vec::new() }
    }

    pub(super) fn of_entry(entry: &Entry) -> Result<Self, UnpackError> {
        // The largest number means "leave as it is" to chown(2).
        let id = |id: u64, what: &str| {
            u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
                UnpackError::entry(&entry.path, format!("has the {what} {id}, which is out of range"))
            })
        };
        Ok(Self {
            mode: entry.mode,
            uid: id(entry.uid, "user id")?,
            gid: id(entry.gid, "group id")?,
            mtime: timespec(entry.mtime),
            xattrs: entry.xattrs.iter().filter(|(name, _)| allowed(name)).cloned().collect(),
        })
    }

    /// How many bytes of memory the extended attributes take, about.
    pub(super) fn weight(&self) -> usize {
        let texts: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        texts + size_of_val(&self.xattrs[..])
    }

    /// How many bytes the extended attributes of an entry take on the disk, about.
    pub(super) fn stored_bytes(entry: &Entry) -> u64 {
        let kept = entry.xattrs.iter().filter(|(name, _)| allowed(name));
        kept.map(|(name, value)| (name.len() + value.len() + 32) as u64).sum()
    }

    pub(super) fn times(&self) -> Timestamps {
        Timestamps { last_access: self.mtime, last_modification: self.mtime }
    }

    /// Whether the owner is another than a file gets that this process makes.
    pub(super) fn is_foreign(&self) -> bool {
        (self.uid, self.gid) != creator()
    }

    /// Sets everything on an open file or directory that was made with `made_with` (and the umask), in the one order
    /// in which nothing undoes what came before: chown clears capabilities and set-id bits, every call changes times.
    pub(super) fn apply(&self, fd: BorrowedFd<'_>, made_with: Option<u32>) -> io::Result<()> {
        if self.is_foreign() {
            let (owner, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::fchown(fd, Some(owner), Some(group))?;
        }
        for (name, value) in &self.xattrs {
            set_xattr(fd, name, value)?;
        }
        if made_with.is_none_or(|mode| mode & !umask() != self.mode) {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode))?;
        }
        rustix::fs::futimens(fd, &self.times())?;
        Ok(())
    }
}

fn timespec((seconds, nanoseconds): (i64, u32)) -> Timespec {
    let clamped = seconds.clamp(*TIME_RANGE.start(), *TIME_RANGE.end());
    Timespec { tv_sec: clamped, tv_nsec: if clamped == seconds { nanoseconds.into() } else { 0 } }
}

/// Which extended attributes a layer may bring: file capabilities, access control lists, and users' own. Not what
/// overlayfs reads (a layer could point into others), not security labels of another machine.
pub fn allowed(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn set_xattr(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    match rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::NOTSUP) => {
            tracing::warn!(name = %String::from_utf8_lossy(name), "the file system keeps no such attribute");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The owner of files that this process makes.
fn creator() -> (u32, u32) {
    static CREATOR: OnceLock<(u32, u32)> = OnceLock::new();
    *CREATOR.get_or_init(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
}

/// Reads the umask, which takes `/proc`, for later.
pub(crate) fn take_note_of_umask() {
    umask();
}

/// This process's umask, read without changing it.
pub(super) fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        // When it can't be told, every mode is set explicitly.
        line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o7777)
    })
}

/// Makes `to` like `from`: owner, mode, the attributes that a layer may have, times.
pub fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let attributes = Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) },
        xattrs: xattrs(from)?,
    };
    // `apply` leaves out a change of owner that a new file does not need; this one may not be new.
    rustix::fs::fchown(to, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    attributes.apply(to, None)
}

/// The extended attributes of an open file that a layer may have.
fn xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = [0_u8; 4096];
    let length = match rustix::fs::flistxattr(fd.as_fd(), &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| allowed(name)) {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_may_not_bring_what_overlayfs_or_the_host_reads() {
        let bad = ["trusted.overlay.opaque", "user.overlay.redirect", "security.selinux", "security.ima", ""];
        assert!(bad.iter().all(|name| !allowed(name.as_bytes())));
        let good = ["security.capability", "user.mime_type", "system.posix_acl_access"];
        assert!(good.iter().all(|name| allowed(name.as_bytes())));
    }

    #[test]
    fn times_beyond_the_file_system_are_clamped() {
        assert_eq!(timespec((5, 7)), Timespec { tv_sec: 5, tv_nsec: 7 });
        assert_eq!(timespec((i64::MAX, 7)), Timespec { tv_sec: 1 << 33, tv_nsec: 0 });
        assert_eq!(timespec((i64::MIN, 7)), Timespec { tv_sec: -(1 << 31), tv_nsec: 0 });
    }
}
