//! Directories of a layer: made as entries need them, given their attributes when nothing changes in them any more.

use std::collections::btree_map;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::tree::{Found, is_directory, is_whiteout};
use super::{Attributes, Cost, UnpackError, Unpacked, Unpacking, parent_and_name};
use crate::archive::Entry;

/// The most directories of a layer, which are all held in memory until its end.
const DIRECTORY_LIMIT: usize = 1 << 20;
/// The most bytes that a layer may have held in memory until its end.
const KEPT_LIMIT: usize = 64 << 20;

impl Unpacking<'_> {
    /// Gives all directories their attributes, now that nothing changes in them any more.
    pub(super) fn finish(mut self) -> Result<Unpacked, UnpackError> {
        for (path, attributes) in std::mem::take(&mut self.directories) {
            let implicit = attributes.is_none();
            if self.finish_directory(&path, attributes)? && implicit {
                self.done.implicit.push(path);
            }
        }
        Ok(self.done)
    }

    /// Gives a directory its attributes; false when it is gone with something that was replaced.
    pub(super) fn finish_directory(
        &self,
        path: &[u8],
        attributes: Option<Attributes>,
    ) -> Result<bool, UnpackError> {
        let Some(fd) = self.tree.open(path)? else { return Ok(false) };
        let attributes = attributes.unwrap_or_else(Attributes::of_implicit_directory);
        let _charge = self.budget.take(Cost::of_attributes(attributes.weight(), self.budget.block()))?;
        let applied = attributes.apply(fd.as_fd(), None);
        applied.map_err(|error| UnpackError::system(path, "given its attributes", error))?;
        Ok(true)
    }

    /// The directory for an entry; made, without attributes of its own, where the archive has not listed it.
    pub(super) fn directory(&mut self, path: &[u8], entry: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Found::Directory(fd) = self.tree.find(path, entry)? {
            return Ok(fd);
        }
        let (above, name) = parent_and_name(path);
        let parent = self.directory(above, entry)?;
        // Only a whiteout of this same layer may make room; a file in the way is a contradiction.
        let obstacle = rustix::fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        if obstacle.is_some_and(|stat| !is_whiteout(&stat) && !is_directory(&stat)) {
            return Err(UnpackError::entry(entry, "lies below something that is no directory"));
        }
        let _charge = self.budget.take(Cost::directory(self.budget.block()))?;
        let fd = self.make_directory(&parent, path)?;
        self.record(path.to_vec())?;
        Ok(fd)
    }

    pub(super) fn listed_directory(
        &mut self,
        parent: &OwnedFd,
        path: Vec<u8>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let attributes = Attributes::of_entry(entry)?;
        self.keep(attributes.weight())?;
        self.make_directory(parent, &path)?;
        *self.record(path)? = Some(attributes);
        Ok(())
    }

    /// Makes a directory, or takes the one that is there; anything else makes room.
    pub(super) fn make_directory(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
    ) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Some(fd) = self.tree.make_directory(parent, path)? {
            return Ok(fd);
        }
        let (_, name) = parent_and_name(path);
        self.clear(parent, name, path)?;
        let made = self.tree.make_directory(parent, path)?;
        let fd = made.ok_or_else(|| UnpackError::system(path, "made", Errno::EXIST))?;
        // What was there hid whatever lower layers have of this name.
        self.make_opaque(path)?;
        Ok(fd)
    }

    /// Hides what lower layers have in a directory.
    pub(super) fn make_opaque(&self, path: &[u8]) -> Result<(), UnpackError> {
        let Some(fd) = self.tree.open(path)? else { return Ok(()) };
        (self.mark_opaque)(fd.as_fd()).map_err(|error| UnpackError::system(path, "made opaque", error))
    }

    /// What is known of a directory that this layer makes; nothing yet of a new one.
    pub(super) fn record(&mut self, path: Vec<u8>) -> Result<&mut Option<Attributes>, UnpackError> {
        let count = self.directories.len();
        if !self.directories.contains_key(&path) {
            self.keep(path.len())?;
        }
        match self.directories.entry(path) {
            btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            btree_map::Entry::Vacant(_) if count >= DIRECTORY_LIMIT => {
                Err(UnpackError::malformed(format!("it has more than {DIRECTORY_LIMIT} directories")))
            }
            btree_map::Entry::Vacant(new) => Ok(new.insert(None)),
        }
    }

    /// Takes note of bytes that stay in memory until the end; what is dropped before counts all the same.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), UnpackError> {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept > KEPT_LIMIT {
            return Err(UnpackError::malformed(format!(
                "its directories and its hard links to other layers take more than {KEPT_LIMIT} bytes of memory"
            )));
        }
        Ok(())
    }
}
