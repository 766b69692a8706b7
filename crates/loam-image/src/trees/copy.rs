//! Copying a tree of layers into a directory.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loam_model::{CopiedOwners, Failure, Result, shown_bytes};
use loam_unpack::parent_and_name;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{self, Owner};
use super::data::copy_data;
use super::stack::{Entry, Listing, Place, Stack};
use crate::error::failed;
use crate::pack::{BENEATH, join};

/// Copies the whole tree into an empty directory.
pub(super) fn copy(stack: &Stack, to: BorrowedFd<'_>, owners: &CopiedOwners) -> Result<()> {
    let mut copier = Copier { stack, to, owners, links: HashMap::new(), directories: Vec::new() };
    let mut waiting = vec![stack.root()];
    while let Some(place) = waiting.pop() {
        copier.directory(place, &mut waiting)?;
    }
    copier.finish()
}

struct Copier<'a> {
    stack: &'a Stack,
    to: BorrowedFd<'a>,
    owners: &'a CopiedOwners,
    /// The paths of the copies of files with several names, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The directories that were made, parents first. They get their attributes in the end: before, files are made in
    /// them.
    directories: Vec<Place>,
}

impl Copier<'_> {
    fn directory(&mut self, place: Place, waiting: &mut Vec<Place>) -> Result<()> {
        let target = self.open(&place.path).map_err(|errno| uncopied(&place.path, errno))?;
        let listing = self.stack.list(&place)?;
        for entry in &listing.entries {
            let path = join(&place.path, &entry.name);
            self.entry(&listing, entry, &path, &target)?;
            waiting.extend(entry.place(&place));
        }
        self.directories.push(place);
        Ok(())
    }

    fn entry(&mut self, listing: &Listing, entry: &Entry, path: &[u8], target: &OwnedFd) -> Result<()> {
        let (name, status) = (&*entry.name, &entry.status);
        let bad = |errno: Errno| uncopied(path, errno);
        let owner = Owner::of(status, self.owners, path)?;
        if entry.kind() == FileType::Directory {
            return rustix::fs::mkdirat(target, name, Mode::RWXU).map_err(bad);
        }
        if status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key) {
                return self.link(first, target, name).map_err(bad);
            }
            self.links.insert(key, path.to_vec());
        }
        let directory = listing.directory_of(entry);
        match entry.kind() {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let from = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(bad)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let to = rustix::fs::openat(target, name, flags, Mode::RUSR | Mode::WUSR).map_err(bad)?;
                copy_data(&from, &to, status.st_size.unsigned_abs()).map_err(bad)?;
                return attributes::copy(&from, &to, status, owner).map_err(bad);
            }
            FileType::Symlink => {
                let leads_to = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(bad)?;
                rustix::fs::symlinkat(&*leads_to, target, name).map_err(bad)?;
            }
            kind @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo) => {
                rustix::fs::mknodat(target, name, kind, Mode::empty(), status.st_rdev).map_err(bad)?;
            }
            // Without the program that listens, a socket is nothing.
            _ => return Ok(()),
        }
        attributes::copy_unopened(target, name, status, owner).map_err(bad)
    }

    /// Gives a copy a further name.
    fn link(&self, first: &[u8], target: &OwnedFd, name: &[u8]) -> std::result::Result<(), Errno> {
        let (above, last) = parent_and_name(first);
        rustix::fs::linkat(self.open(above)?, last, target, name, AtFlags::empty())
    }

    /// Gives the directories their attributes, the deepest first.
    fn finish(self) -> Result<()> {
        for place in self.directories.iter().rev() {
            let bad = |errno: Errno| uncopied(&place.path, errno);
            let (from, to) = (self.stack.top(place)?, self.open(&place.path).map_err(bad)?);
            let status = rustix::fs::fstat(&from).map_err(bad)?;
            let owner = Owner::of(&status, self.owners, &place.path)?;
            attributes::copy(&from, &to, &status, owner).map_err(bad)?;
        }
        Ok(())
    }

    /// Opens a directory of the copy.
    fn open(&self, path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.is_empty() { &b"."[..] } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loam_sys::openat2(self.to.as_fd(), path, flags, Mode::empty(), BENEATH)
    }
}

fn uncopied(path: &[u8], errno: Errno) -> Failure {
    failed(format!("`/{}` can't be copied", shown_bytes(path)), errno)
}
