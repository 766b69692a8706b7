//! The container's root file system and prepared mounts, in a mount namespace of the shim's own.
//!
//! The namespace starts as a copy of the host's and stays in its peer groups, so that mounts made later still pass
//! both ways where a container asks for it. Only the mount that holds the run directory becomes a slave: what is
//! mounted below the run directory is never seen by the host, and vanishes with the last process in the namespace.

mod disk;
mod id_maps;
mod layers;
mod mount_ways;
mod overlay;
mod preparation;
mod shift;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, IdMapping, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::thread::LinkNameSpaceType;

pub(crate) use id_maps::IdMaps;
pub use mount_ways::MountWays;
pub(crate) use overlay::mount_root;
pub(crate) use preparation::prepare;

/// Directories that every root file system has, whatever the image says: mounts go there.
const STANDARD_DIRECTORIES: [&str; 4] = ["dev", "proc", "sys", "etc"];

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

/// Makes the standard directories where they are missing, as the container's root. A symbolic link in their place
/// stays: the runtime refuses it.
pub(crate) fn make_standard_directories(root: &OwnedFd, mapping: Option<&IdMapping>) -> Result<()> {
    let missing = STANDARD_DIRECTORIES.into_iter().filter(|name| {
        rustix::fs::statat(root, *name, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|errno| errno == Errno::NOENT)
    });
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    as_container_root(mapping, || {
        for name in missing {
            match rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
                Err(errno) => {
                    let message = format!("`/{name}` can't be made in the root file system");
                    return Err(Failure::new(kind_of(errno), message).caused_by(errno));
                }
            }
        }
        Ok(())
    })?
}

/// Does something with the container's root as the owner of new files, and with all our rights. An idmapped mount
/// refuses files of users that it does not map, such as the host's root.
pub(crate) fn as_container_root<T>(mapping: Option<&IdMapping>, work: impl FnOnce() -> T) -> Result<T> {
    let Some(root) = mapping.and_then(|mapping| mapping.to_host(0)) else { return Ok(work()) };
    let failure = |cause: std::io::Error| {
        Failure::new(ErrorKind::Internal, format!("files can't be made as user {root}")).caused_by(cause)
    };
    let rights = rustix::thread::capabilities(None).map_err(|errno| failure(errno.into()))?;
    loam_sys::set_file_access_ids(root, root).map_err(failure)?;
    // The change has taken the rights over files from us, and only those in effect.
    rustix::thread::set_capabilities(None, rights).map_err(|errno| failure(errno.into()))?;
    let result = work();
    loam_sys::set_file_access_ids(0, 0).map_err(failure)?;
    Ok(result)
}

/// Bytes in use on the file system that an overlay writes to (statfs(2), which an overlay hands on).
pub(crate) fn bytes_used(root: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(root).ok()?;
    Some(status.f_blocks.saturating_sub(status.f_bfree).saturating_mul(status.f_frsize))
}

/// The class of a refusal of the kernel's, of a path that somebody named or of a mount.
pub(crate) fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::NotFound,
        // A file system that the kernel does not have.
        Errno::NODEV | Errno::OPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::of_io(&errno.into()),
    }
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
