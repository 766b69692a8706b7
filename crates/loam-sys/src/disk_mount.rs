//! Mounting a *disk file*, a file that holds an ext4 file system, where nobody sees it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::features::has_mount_api;
use crate::loop_device::LoopDevice;

/// How long a mount of the same file before this one may take to go: the kernel ends mounts in the background when a
/// namespace ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has gone.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a disk file can't be mounted: the step that failed.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file can't be opened.
    #[error("the disk `{}` can't be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It stays mounted elsewhere.
    #[error("the disk `{}` is in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is no loop device, or none that may be used.
    #[error("the disk `{}` can't be mounted: this machine gives no loop device", path.display())]
    NoLoopDevice {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The mount calls that it takes are refused.
    #[error("the disk `{}` can't be mounted: this kernel or a sandbox around Loam refuses `fsopen`", path.display())]
    NoMountCalls {
        /// The file.
        path: PathBuf,
    },
    /// The kernel does not know the file system.
    #[error("the disk `{}` can't be mounted: this kernel does not have ext4", path.display())]
    NoExt4 {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another step of the mount.
    #[error("the disk `{}` can't be mounted", path.display())]
    Mount {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Mounts a disk file for reading and writing and gives the root of the mount, which is mounted nowhere: with the last
/// descriptor of it, or of mounts cloned from it, file system and loop device go.
///
/// Two mounts of one file at a time would ruin it, so the mount holds a lock on the file. With `sync` what programs ask to
/// be synced is synced to the disk below, else only to the kernel's memory of the file.
///
/// # Errors
/// Those of [`DiskError`].
pub fn mount_disk(path: &Path, sync: bool) -> Result<OwnedFd, DiskError> {
    let named = || path.to_owned();
    if !has_mount_api() {
        return Err(DiskError::NoMountCalls { path: named() });
    }
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(|source| DiskError::Open { path: named(), source })?;
    lock(&file, path)?;
    let device = LoopDevice::attach(file.as_fd()).map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::PERM | Errno::ACCESS) => {
            DiskError::NoLoopDevice { path: named(), source }
        }
        _ => DiskError::Mount { path: named(), source },
    })?;
    let context =
        rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| match errno {
            Errno::NODEV => DiskError::NoExt4 { path: named(), source: errno.into() },
            errno => DiskError::Mount { path: named(), source: errno.into() },
        })?;
    mount(&context, &device, sync).map_err(|errno| DiskError::Mount { path: named(), source: errno.into() })
}

fn mount(context: &OwnedFd, device: &LoopDevice, sync: bool) -> rustix::io::Result<OwnedFd> {
    rustix::mount::fsconfig_set_string(context, "source", device.path())?;
    // What is deleted inside is given back to the file system that the file lies on.
    rustix::mount::fsconfig_set_flag(context, "discard")?;
    if !sync {
        rustix::mount::fsconfig_set_flag(context, "nobarrier")?;
    }
    rustix::mount::fsconfig_create(context)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn lock(file: &File, path: &Path) -> Result<(), DiskError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(DiskError::InUse { path: path.to_owned() }),
            other => {
                return other
                    .map_err(|errno| DiskError::Open { path: path.to_owned(), source: errno.into() });
            }
        }
    }
}
