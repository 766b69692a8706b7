//! What the helper gives up before it reads a byte that came from a stranger.

use std::os::fd::{AsFd, OwnedFd};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::features::has_mount_api;
use loam_sys::{MountChange, allow_only, change_mount, magic_link};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::calls::{CALLS, checked};

/// What it takes to own files: to give them away with their modes and capabilities, and to make device files.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// The most memory, in bytes: the largest window of zstd, what is kept of a layer until its end, and room to work.
const MEMORY: u64 = 512 << 20;
/// The most open files: the directories that are kept open, and a few.
const FILES: u64 = 64;

/// Confines this process to a directory, for good, and gives the directory, opened anew: the descriptor that it came with
/// would lead out of it.
pub(super) fn confine(directory: OwnedFd) -> Result<OwnedFd> {
    limit().map_err(|errno| refused("setting limits failed", errno))?;
    confine_thread(directory)
}

/// The part that a thread takes on alone, and all that it starts.
pub(super) fn confine_thread(directory: OwnedFd) -> Result<OwnedFd> {
    // Read while it can be: afterwards there is no `/proc`.
    crate::unpack::take_note_of_umask();
    let root = enter(directory).map_err(|errno| refused("making the layer its root failed", errno))?;
    give_up_rights().map_err(|errno| refused("giving up rights failed", errno))?;
    allow_only(&CALLS, &checked()).map_err(|error| {
        refused("filtering its system calls failed", Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    Ok(root)
}

fn refused(step: &str, errno: Errno) -> Failure {
    let kind = ErrorKind::of_io(&errno.into());
    Failure::new(kind, format!("the unpacker can't be confined: {step}")).caused_by(errno)
}

/// Limits for the whole process, which must not outlive the one that started it.
fn limit() -> std::result::Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(Mode::empty());
    for (resource, most) in [(Resource::Core, 0), (Resource::Nofile, FILES), (Resource::Data, MEMORY)] {
        let now = rustix::process::getrlimit(resource);
        let most = now.maximum.map_or(most, |maximum| maximum.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Makes the directory the root of a mount namespace that has nothing else.
fn enter(directory: OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    // A mount can be cloned in its own namespace alone.
    let cloned = if has_mount_api() { Some(clone_mount(&directory)?) } else { None };
    loam_sys::new_mount_namespace().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    // What is done here must not be done on the host as well; what the host lets go of, this namespace lets go of, too.
    // In a root that is no mount, as of chroot(2), that can't be said, and nothing is mounted.
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    let may_mount = match rustix::mount::mount_change("/", propagation) {
        Ok(()) => true,
        Err(Errno::INVAL) if cloned.is_some() => false,
        Err(errno) => return Err(errno),
    };
    let root = match cloned {
        Some(mount) => {
            if may_mount {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(&mount, "", rustix::fs::CWD, "/", flags)?;
            }
            mount
        }
        None => bind_mount(&directory)?,
    };
    drop(directory);
    rustix::process::fchdir(&root)?;
    // The host's root ends up on top of the new one, and is then taken off it. Where the host's root is none that can be
    // moved, it stays, out of reach: there is no way back without the right to change roots.
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => rustix::mount::unmount(".", UnmountFlags::DETACH)?,
        Err(Errno::INVAL) => rustix::process::chroot(".")?,
        Err(errno) => return Err(errno),
    }
    rustix::process::chdir("/")?;
    rustix::fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The same by the older calls, which know mounts by their paths.
fn bind_mount(directory: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let path = rustix::fs::readlink(magic_link(directory), Vec::new())?;
    rustix::mount::mount_bind(&path, &path)?;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount_remount(&path, flags, "")?;
    rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A mount of just the directory, where programs and devices of the layer count for nothing.
fn clone_mount(directory: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(directory, "", flags)?;
    let set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    change_mount(mount.as_fd(), &MountChange { set, ..MountChange::default() })
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(mount)
}

fn give_up_rights() -> std::result::Result<(), Errno> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // One after the last that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    let kept = rustix::thread::capabilities(None)?.permitted & KEPT;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)
}
