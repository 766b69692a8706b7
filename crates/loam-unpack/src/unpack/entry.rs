//! What is done for each entry of a layer: by its kind, and with what is in its way.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{Attributes, Cost, UnpackError, Unpacking, parent_and_name, relative};
use crate::archive::{Archive, Entry, EntryKind};
use crate::blocks::Blocks;

/// How a whiteout's name begins (layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

impl Unpacking<'_> {
    /// Makes one entry.
    pub(super) fn entry<B: Blocks>(
        &mut self,
        archive: &mut Archive<B>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let path = relative(&entry.path)?;
        if path.is_empty() {
            if entry.kind != EntryKind::Directory {
                return Err(UnpackError::entry(&entry.path, "names the root, but is no directory"));
            }
            let attributes = Attributes::of_entry(entry)?;
            self.keep(attributes.weight())?;
            self.directories.insert(path, Some(attributes));
            return Ok(());
        }
        let (parent, name) = parent_and_name(&path);
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&path, parent, name, hidden);
        }
        // Held until the entry is made.
        let charge = self.budget.take(Cost::of(entry, self.budget.block()))?;
        let parent = self.directory(parent, &path)?;
        match entry.kind {
            EntryKind::Directory => self.listed_directory(&parent, path, entry),
            EntryKind::File => self.file(archive, &parent, name, &path, (entry, charge)),
            EntryKind::Symlink => self.symlink(&parent, name, &path, entry),
            EntryKind::HardLink => self.hard_link(&parent, name, &path, entry),
            EntryKind::CharacterDevice => self.node(&parent, name, &path, entry, FileType::CharacterDevice),
            EntryKind::BlockDevice => self.node(&parent, name, &path, entry, FileType::BlockDevice),
            EntryKind::Fifo => self.node(&parent, name, &path, entry, FileType::Fifo),
        }
    }

    /// Makes something that must not exist; what is in the way is removed first.
    pub(super) fn make<T>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        create: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, UnpackError> {
        match create() {
            Err(Errno::EXIST) => {
                self.clear(parent, name, path)?;
                create()
            }
            other => other,
        }
        .map_err(|error| UnpackError::system(path, "made", error))
    }

    /// Removes what this layer has under a name.
    pub(super) fn clear(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        let present = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let kind = present.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode));
        let followed = kind == FileType::Symlink && self.tree.forget_links();
        // Files that were made by way of a link are not found again under their names.
        self.done.lossy |= followed || matches!(kind, FileType::Directory | FileType::RegularFile);
        self.tree.forget(path);
        self.directories.remove(path);
        // `0` comes after `/`: the range holds what lies below.
        let below = [path, b"/"].concat()..[path, b"0"].concat();
        let known: Vec<Vec<u8>> = self.directories.range(below).map(|(known, _)| known.clone()).collect();
        for known in known {
            let attributes = self.directories.remove(&known).flatten();
            if followed {
                self.finish_directory(&known, attributes)?;
            }
        }
        let removed = match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => crate::delete::tree(parent, name),
            Err(error) => Err(io::Error::from(error)),
        };
        removed.map_err(|error| UnpackError::system(path, "replaced", error))
    }
}
