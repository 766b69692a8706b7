//! Taking mounts away again.

use std::path::Path;
use std::time::{Duration, Instant};

use loam_model::{Failure, Result};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::kind_of;

/// How long a mount that is in use may take to become free: a process that has just ended may still hold it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether something is mounted at a path.
pub fn is_mount_point(path: &Path) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Unmounts everything that is mounted at a path: an overlay, and what it may cover. Success when there is nothing, or no
/// such path.
///
/// # Errors
/// What is in use stays mounted.
pub fn unmount_all(target: &Path) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there any more.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(errno) => {
                let message = format!("`{}` can't be unmounted", target.display());
                return Err(Failure::new(kind_of(errno), message).caused_by(errno));
            }
        }
    }
}
