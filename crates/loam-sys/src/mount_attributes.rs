//! Changing mounts that exist: mount_setattr(2), Linux 5.12.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How mounts made later pass between peers (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountPropagation {
    /// Neither way.
    Private,
    /// From the peers to here.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and the mount can't be bound elsewhere.
    Unbindable,
}

/// A change of a mount: what is not named stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountChange<'a> {
    /// `MOUNT_ATTR_…` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_…` bits to clear before that.
    pub clear: u64,
    /// The new propagation.
    pub propagation: Option<MountPropagation>,
    /// A user namespace whose mapping the mount shall have; sets `MOUNT_ATTR_IDMAP`.
    pub mapping: Option<BorrowedFd<'a>>,
    /// Whether the mounts below are changed alike.
    pub recursive: bool,
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const AT_EMPTY_PATH: libc::c_uint = 0x1000;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Changes the mount whose root `mount` is open on.
pub fn change_mount(mount: BorrowedFd<'_>, change: &MountChange<'_>) -> io::Result<()> {
    let mut attr = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation.map_or(0, |propagation| match propagation {
            MountPropagation::Private => libc::MS_PRIVATE,
            MountPropagation::Slave => libc::MS_SLAVE,
            MountPropagation::Shared => libc::MS_SHARED,
            MountPropagation::Unbindable => libc::MS_UNBINDABLE,
        }),
        userns_fd: 0,
    };
    if let Some(mapping) = change.mapping {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = u64::from(mapping.as_raw_fd().unsigned_abs());
    }
    let flags = if change.recursive { AT_EMPTY_PATH | AT_RECURSIVE } else { AT_EMPTY_PATH };
    // SAFETY: the path is an empty C string, and `attr` is a `struct mount_attr` of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
