//! The container's root file system and prepared mounts, in a mount namespace of the shim's own.
//!
//! The namespace starts as a copy of the host's and stays in its peer groups, so that mounts made later still pass
//! both ways where a container asks for it. Only the mount that holds the run directory becomes a slave: what is
//! mounted below the run directory is never seen by the host, and vanishes with the last process in the namespace.

mod preparation;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};
use loam_rootfs::kind_of;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::thread::LinkNameSpaceType;

pub(crate) use preparation::prepare;

/// A mount namespace of our own, and the way back.
#[derive(Debug)]
pub(crate) struct MountNamespace {
    host: OwnedFd,
}

impl MountNamespace {
    /// Moves this process, which must have one thread, into a copy of the host's mount namespace.
    pub(crate) fn enter(run_directory: &Path) -> Result<Self> {
        let failure = |step: &str, errno: Errno| {
            let message = format!("the mount namespace can't be made: {step}");
            Failure::new(kind_of(errno), message).caused_by(errno)
        };
        let host = this_mount_namespace().map_err(|errno| failure("the host's can't be opened", errno))?;
        loam_sys::new_mount_namespace().map_err(|error| {
            failure("the kernel refuses", Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        let holder = mount_point_of(run_directory).map_err(|errno| failure("no mount point found", errno))?;
        rustix::mount::mount_change(holder, MountPropagationFlags::DOWNSTREAM)
            .map_err(|errno| failure("the run directory can't be hidden from the host", errno))?;
        Ok(Self { host })
    }

    /// Goes back to the host's namespace, and with that drops our mounts unless another process still uses them.
    pub(crate) fn leave(&self) -> Result<()> {
        rustix::thread::move_into_link_name_space(self.host.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(
            |errno| {
                Failure::new(ErrorKind::Internal, "the host's mount namespace can't be entered")
                    .caused_by(errno)
            },
        )
    }

    /// Does something in the host's mount namespace.
    pub(crate) fn on_host<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let ours = this_mount_namespace().map_err(|errno| {
            Failure::new(ErrorKind::Internal, "the mount namespace can't be opened").caused_by(errno)
        })?;
        self.leave()?;
        let result = work();
        Self { host: ours }.leave()?;
        Ok(result)
    }
}

fn this_mount_namespace() -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The mount point that holds a path: the nearest directory at or above it that is the root of a mount.
fn mount_point_of(path: &Path) -> std::result::Result<&Path, Errno> {
    for ancestor in path.ancestors() {
        let status = rustix::fs::statx(CWD, ancestor, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())?;
        if status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(ancestor);
        }
    }
    Err(Errno::NOENT)
}

/// Bytes in use on the file system that an overlay writes to (statfs(2), which an overlay hands on).
pub(crate) fn bytes_used(root: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(root).ok()?;
    Some(status.f_blocks.saturating_sub(status.f_bfree).saturating_mul(status.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_found_from_below() {
        assert_eq!(mount_point_of(Path::new("/proc/self")), Ok(Path::new("/proc")));
        assert_eq!(mount_point_of(Path::new("/proc")), Ok(Path::new("/proc")));
        assert_eq!(mount_point_of(Path::new("/no-such-directory")), Err(Errno::NOENT));
    }
}
