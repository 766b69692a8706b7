//! The other way where openat2(2) is refused: a path is walked name by name. Each directory is opened without following
//! a link, links are read and walked in turn, and `..` goes back to the directory that was opened before, so that
//! nothing that is renamed meanwhile leads out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::mount_of;

/// How many links a path may lead through, as in the kernel.
const MAX_LINKS: u32 = 40;
/// The file system of `/proc` (statfs(2)), and the inode of its root.
const PROC: i64 = 0x9fa0;
const PROC_ROOT: u64 = 1;

/// Opens a path as openat2(2) does with `how`, which contains `IN_ROOT` or `BENEATH`.
pub(super) fn open(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> Result<OwnedFd> {
    if !how.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH) {
        return Err(Errno::NOSYS);
    }
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let mount = if how.contains(ResolveFlags::NO_XDEV) { Some(mount_of(root)?) } else { None };
    let mut walk = Walk { root, how, mount, above: Vec::new(), names: Vec::new(), links: 0 };
    let mut wants_directory = walk.push(path)?;
    while let Some(name) = walk.names.pop() {
        if name == b".." {
            walk.go_up()?;
            continue;
        }
        let is_last = walk.names.is_empty();
        let found = match walk.look(&name) {
            Err(Errno::NOENT) if is_last && flags.contains(OFlags::CREATE) => {
                return rustix::fs::openat(walk.here(), &*name, flags | OFlags::NOFOLLOW, mode);
            }
            other => other?,
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
        if kind == FileType::Symlink {
            if is_last && !wants_directory && flags.contains(OFlags::CREATE | OFlags::EXCL) {
                return Err(Errno::EXIST);
            }
            if is_last && !wants_directory && flags.contains(OFlags::NOFOLLOW) {
                return open_link(found, flags);
            }
            wants_directory |= walk.follow(&found)? && is_last;
            continue;
        }
        walk.check_mount(&found)?;
        if is_last {
            return walk.finish(&name, found, kind, wants_directory, flags, mode);
        }
        if kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        walk.above.push(found);
    }
    let flags = flags.difference(OFlags::NOFOLLOW) | OFlags::DIRECTORY;
    rustix::fs::openat(walk.here(), ".", flags, mode)
}

/// A link is what was asked for.
fn open_link(link: OwnedFd, flags: OFlags) -> Result<OwnedFd> {
    if !flags.contains(OFlags::PATH) {
        return Err(Errno::LOOP);
    }
    if flags.contains(OFlags::DIRECTORY) { Err(Errno::NOTDIR) } else { Ok(link) }
}

/// A path that is being walked.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    how: ResolveFlags,
    /// The mount that may not be left.
    mount: Option<u64>,
    /// The directories from below the root to here.
    above: Vec<OwnedFd>,
    /// The names to come, the next one last.
    names: Vec<Vec<u8>>,
    links: u32,
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.above.last().map_or(self.root, AsFd::as_fd)
    }

    /// Takes a path in front of the names to come. Gives whether it can only be a directory's.
    fn push(&mut self, path: &[u8]) -> Result<bool> {
        if path.first() == Some(&b'/') {
            if self.how.contains(ResolveFlags::BENEATH) {
                return Err(Errno::XDEV);
            }
            self.above.clear();
        }
        let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        self.names.extend(names.rev().map(<[u8]>::to_vec));
        Ok(path.ends_with(b"/") || path.ends_with(b"/."))
    }

    fn go_up(&mut self) -> Result<()> {
        // Above the root is the root, as in `/..`.
        if self.above.pop().is_none() && self.how.contains(ResolveFlags::BENEATH) {
            return Err(Errno::XDEV);
        }
        Ok(())
    }

    /// Opens the next name whatever it is.
    fn look(&self, name: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.here(), name, flags, Mode::empty())
    }

    /// Goes on where a link points to. Gives whether that can only be a directory.
    fn follow(&mut self, link: &OwnedFd) -> Result<bool> {
        self.links += 1;
        let refused = self.how.contains(ResolveFlags::NO_SYMLINKS) || self.links > MAX_LINKS;
        if refused || self.is_magic(link)? {
            return Err(Errno::LOOP);
        }
        self.check_mount(link)?;
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        self.push(target.as_bytes())
    }

    /// Whether a link of `/proc` leads to an open file whatever its text says. Those at its root, such as `self`, are
    /// plain.
    fn is_magic(&self, link: &OwnedFd) -> Result<bool> {
        Ok(rustix::fs::fstatfs(link)?.f_type == PROC && rustix::fs::fstat(self.here())?.st_ino != PROC_ROOT)
    }

    fn check_mount(&self, found: &OwnedFd) -> Result<()> {
        match self.mount {
            Some(mount) if mount_of(found.as_fd())? != mount => Err(Errno::XDEV),
            _ => Ok(()),
        }
    }

    /// Opens the last name as it was asked for. What was found may have been replaced meanwhile, but not by a link.
    fn finish(
        &self,
        name: &[u8],
        found: OwnedFd,
        kind: FileType,
        wants_directory: bool,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd> {
        if wants_directory && kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OFlags::PATH) {
            let is_wrong = flags.contains(OFlags::DIRECTORY) && kind != FileType::Directory;
            return if is_wrong { Err(Errno::NOTDIR) } else { Ok(found) };
        }
        let opened = match rustix::fs::openat(self.here(), name, flags | OFlags::NOFOLLOW, mode) {
            Err(Errno::LOOP) => return Err(Errno::AGAIN),
            other => other?,
        };
        self.check_mount(&opened)?;
        Ok(opened)
    }
}
