//! Mounting a file that holds an ext4 file system, where nobody sees it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::LoopDevice;

/// How long a mount of the same file before this one may take to go: the kernel ends mounts in the background when a
/// namespace ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has gone.
const PAUSE: Duration = Duration::from_millis(1);

/// Mounts a file with an ext4 file system for reading and writing and gives the root of the mount, which is mounted
/// nowhere: with the last descriptor of it, or of mounts cloned from it, file system and loop device go.
///
/// Two mounts of one file at a time would ruin it, so the mount holds a lock on the file. With `sync` what programs ask to
/// be synced is synced to the disk below, else only to the kernel's memory of the file.
///
/// # Errors
/// `ResourceBusy` when the file stays mounted elsewhere; `NotFound` when the file, or what loop devices need, is missing.
pub fn mount_image(path: &Path, sync: bool) -> io::Result<OwnedFd> {
    let file = File::options().read(true).write(true).open(path)?;
    lock(&file)?;
    let device = LoopDevice::attach(file.as_fd())?;
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", device.path())?;
    // What is deleted inside is given back to the file system that the file lies on.
    rustix::mount::fsconfig_set_flag(&context, "discard")?;
    if !sync {
        rustix::mount::fsconfig_set_flag(&context, "nobarrier")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn lock(file: &File) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::ResourceBusy.into()),
            other => return Ok(other?),
        }
    }
}
