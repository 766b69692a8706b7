//! Directories that hide what lower layers have in them.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;

/// What overlayfs looks for on such a directory.
const ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Marks an open directory for overlayfs, or has somebody mark it who may.
pub(crate) type MarkOpaque<'a> = &'a (dyn Fn(BorrowedFd<'_>) -> io::Result<()> + Sync);

/// Marks an open directory for overlayfs.
pub(crate) fn mark_opaque(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(directory, ATTRIBUTE, b"y", XattrFlags::empty())?)
}
