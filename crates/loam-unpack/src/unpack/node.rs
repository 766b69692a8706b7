//! Device nodes and FIFOs of a layer, and the attributes of whatever can't be opened.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};

use super::{Attributes, UnpackError, Unpacking};
use crate::archive::Entry;

impl Unpacking<'_> {
    pub(super) fn node(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), UnpackError> {
        if kind == FileType::CharacterDevice && entry.device == (0, 0) {
            return Err(UnpackError::entry(path, "is the device 0:0, which would be a forged whiteout"));
        }
        let attributes = Attributes::of_entry(entry)?;
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(attributes.mode);
        self.make(parent, name, path, || rustix::fs::mknodat(parent, name, kind, mode, device))?;
        finish_node(parent, name, path, &attributes, Some(mode))
    }
}

/// Owner, mode and times of something that can't be opened. It was made just now, in a directory that no one else can
/// enter, so that its name can't have become a link.
pub(super) fn finish_node(
    parent: &OwnedFd,
    name: &[u8],
    path: &[u8],
    attributes: &Attributes,
    mode: Option<Mode>,
) -> Result<(), UnpackError> {
    let system = |error| UnpackError::system(path, "given its attributes", error);
    if attributes.is_foreign() {
        let (owner, group) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        rustix::fs::chownat(parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(system)?;
    }
    if let Some(mode) = mode {
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(system)?;
    }
    rustix::fs::utimensat(parent, name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW).map_err(system)
}
