//! Symbolic and hard links of a layer.

use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;

use super::node::finish_node;
use super::tree::{Found, is_directory, is_whiteout};
use super::{Attributes, DanglingLink, UnpackError, Unpacking, parent_and_name, relative};
use crate::archive::Entry;

/// The longest target of a symbolic link.
const TARGET_LIMIT: usize = 4095;

impl Unpacking<'_> {
    pub(super) fn symlink(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let target = &entry.link[..];
        if target.is_empty() || target.len() > TARGET_LIMIT || target.contains(&0) {
            return Err(UnpackError::entry(path, "is a symbolic link with an impossible target"));
        }
        let attributes = Attributes::of_entry(entry)?;
        self.make(parent, name, path, || rustix::fs::symlinkat(target, parent, name))?;
        finish_node(parent, name, path, &attributes, None)
    }

    pub(super) fn hard_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let target = relative(&entry.link).map_err(|_| {
            let shown = loam_model::shown_bytes(&entry.link);
            UnpackError::entry(path, format!("is a hard link to `{shown}`, outside the layer"))
        })?;
        if target == path || target.is_empty() {
            return Err(UnpackError::entry(path, "is a hard link to itself or to the root"));
        }
        let (above, last) = parent_and_name(&target);
        let source = match self.tree.find(above, path)? {
            Found::Directory(fd) => Some(fd),
            Found::Missing | Found::Obstructed => None,
        };
        let original = source.as_ref().and_then(|fd| {
            rustix::fs::statat(&**fd, last, AtFlags::SYMLINK_NOFOLLOW).ok().filter(|s| !is_whiteout(s))
        });
        let (Some(source), Some(original)) = (source, original) else {
            self.keep(size_of::<DanglingLink>() + path.len() + target.len())?;
            self.clear(parent, name, path)?;
            self.done.dangling.push(DanglingLink { path: path.to_vec(), target });
            return Ok(());
        };
        if is_directory(&original) {
            return Err(UnpackError::entry(path, "is a hard link to a directory"));
        }
        let present = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        if present.is_ok_and(|s| (s.st_dev, s.st_ino) == (original.st_dev, original.st_ino)) {
            return Ok(());
        }
        self.make(parent, name, path, || rustix::fs::linkat(&*source, last, parent, name, AtFlags::empty()))
    }
}
