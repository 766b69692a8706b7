//! The layer's directory tree, by descriptors.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::UnpackError;
use super::name::parent_and_name;

/// How many directories are kept open: an archive comes back to the directory above, rarely further.
const CACHE: usize = 8;

/// Flags to look a directory up, for making entries in it.
const LOOK_UP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The mode of directories as long as the layer is unpacked.
pub(super) const UNFINISHED: Mode = Mode::from_raw_mode(0o700);

/// How the lookup of a directory ended.
pub(super) enum Found {
    Directory(Rc<OwnedFd>),
    Missing,
    /// Something on the way is no directory.
    Obstructed,
}

/// The tree below the layer's root.
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// Recently used directories, the latest last.
    recent: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    /// Whether a link was followed to a directory.
    followed: bool,
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Rc::new(root), recent: Vec::with_capacity(CACHE), followed: false }
    }

    /// Looks a directory up. Links on the way are followed as long as they stay below the root.
    pub(super) fn find(&mut self, path: &[u8], entry: &[u8]) -> Result<Found, UnpackError> {
        if path.is_empty() {
            return Ok(Found::Directory(self.root.clone()));
        }
        if let Some(position) = self.recent.iter().rposition(|(known, _)| known == path) {
            let last = self.recent.len() - 1;
            self.recent.swap(position, last);
            return Ok(Found::Directory(self.recent[last].1.clone()));
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // With O_NOFOLLOW a link in the last place would be taken for something that is no directory.
        let flags = LOOK_UP.difference(OFlags::NOFOLLOW);
        let open = |resolve| loam_sys::openat2(&*self.root, path, flags, Mode::empty(), resolve);
        let opened = match open(beneath | ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => match open(beneath) {
                // Behind a link that leads somewhere, where just this is missing, or behind one that leads nowhere.
                Err(Errno::NOENT) if self.is_dangling(path) => {
                    return Err(UnpackError::entry(entry, "lies behind a link that leads nowhere"));
                }
                other => other.map(|fd| (fd, true)),
            },
            other => other.map(|fd| (fd, false)),
        };
        match opened {
            Ok((fd, followed)) => {
                self.followed |= followed;
                Ok(Found::Directory(self.remember(path, fd)))
            }
            Err(Errno::NOENT) => Ok(Found::Missing),
            Err(Errno::NOTDIR) => Ok(Found::Obstructed),
            Err(Errno::XDEV) => Err(UnpackError::entry(entry, "lies behind a link that leaves the layer")),
            Err(error) => Err(UnpackError::system(entry, "made", error)),
        }
    }

    /// Whether the last part of a path, whose way is there, is a link. Where the way is missing the link may be on it: that is
    /// found out when the way is made.
    fn is_dangling(&self, path: &[u8]) -> bool {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loam_sys::openat2(&*self.root, path, flags, Mode::empty(), beneath).is_ok()
    }

    /// Makes a directory in `parent`, or takes the one that is there; `None` when something else is in the way.
    pub(super) fn make_directory(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
    ) -> Result<Option<Rc<OwnedFd>>, UnpackError> {
        let (_, name) = parent_and_name(path);
        let system = |error| UnpackError::system(path, "made", error);
        match rustix::fs::mkdirat(parent, name, UNFINISHED) {
            Ok(()) => {}
            Err(Errno::EXIST) if is_directory(&stat(parent, name, path)?) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(system(error)),
        }
        let fd = rustix::fs::openat(parent, name, LOOK_UP, Mode::empty()).map_err(system)?;
        Ok(Some(self.remember(path, fd)))
    }

    /// Opens a directory of the layer for setting its attributes; `None` when there is none any more.
    pub(super) fn open(&self, path: &[u8]) -> Result<Option<OwnedFd>, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let path_or_dot = if path.is_empty() { &b"."[..] } else { path };
        match loam_sys::openat2(&*self.root, path_or_dot, flags, Mode::empty(), beneath) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(error) => Err(UnpackError::system(path, "opened", error)),
        }
    }

    /// Forgets a directory that is gone, with all below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.recent.retain(|(known, _)| !is_within(known, path));
    }

    /// Whether any directory was found by way of a link. What is remembered of them is forgotten: a link is to go.
    pub(super) fn forget_links(&mut self) -> bool {
        if self.followed {
            self.recent.clear();
        }
        self.followed
    }

    fn remember(&mut self, path: &[u8], fd: OwnedFd) -> Rc<OwnedFd> {
        let fd = Rc::new(fd);
        if self.recent.len() == CACHE {
            self.recent.remove(0);
        }
        self.recent.push((path.to_vec(), fd.clone()));
        fd
    }
}

/// Whether `path` is `directory` or lies below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

pub(super) fn stat(parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Stat, UnpackError> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| UnpackError::system(path, "looked at", error))
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
