//! Directories that hide what lower layers have in them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::XattrFlags;

use super::UnpackError;
use super::tree::Tree;

/// What overlayfs looks for on such a directory.
const ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Marks directories of an unpacked layer for overlayfs.
pub(crate) fn mark_opaque(layer: OwnedFd, directories: &[Vec<u8>]) -> Result<(), UnpackError> {
    let tree = Tree::new(layer);
    for path in directories {
        let directory = tree.open(path)?;
        rustix::fs::fsetxattr(directory.as_fd(), ATTRIBUTE, b"y", XattrFlags::empty())
            .map_err(|error| UnpackError::system(path, "marked as opaque", error))?;
    }
    Ok(())
}
