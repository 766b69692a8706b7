//! Subvolumes and quota groups of btrfs (linux/btrfs.h).

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

const BTRFS_IOC_SUBVOL_CREATE: u32 = 0x5000_940e;
const BTRFS_IOC_SNAP_DESTROY: u32 = 0x5000_940f;
const BTRFS_IOC_INO_LOOKUP: u32 = 0xd000_9412;
const BTRFS_IOC_FS_INFO: u32 = 0x8400_941f;
const BTRFS_IOC_QGROUP_CREATE: u32 = 0x4010_942a;
const BTRFS_IOC_QGROUP_LIMIT: u32 = 0x8030_942b;
/// `BTRFS_QGROUP_LIMIT_MAX_RFER`: the limit on everything that the subvolume refers to.
const LIMIT_REFERENCED: u64 = 1;
/// `BTRFS_QGROUP_CLEAR_VALUE` (-1), which the kernel keeps to itself: there is no such limit any more.
const NO_LIMIT: u64 = u64::MAX;
/// `BTRFS_FIRST_FREE_OBJECTID`: the inode number of a subvolume's root.
const ROOT_INODE: u64 = 256;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolumeArguments {
    descriptor: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct LookupArguments {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_fs_info_args`.
#[repr(C)]
struct Information {
    most_devices: u64,
    devices: u64,
    id: [u8; 16],
    rest: [u64; 124],
}

/// `struct btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct GroupArguments {
    create: u64,
    group: u64,
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
#[derive(Default)]
struct LimitArguments {
    group: u64,
    flags: u64,
    most_referenced: u64,
    most_exclusive: u64,
    reserved: [u64; 2],
}

/// Makes a request of the file system. `arguments` must be the structure that the request takes.
fn request<T>(on: BorrowedFd<'_>, request: u32, arguments: &mut T) -> io::Result<()> {
    // SAFETY: the kernel reads and writes at most the size of the request's structure at the pointer, which is a whole
    // exclusive `T`; every caller in this file passes the structure of its request, whose size is in the request's
    // number, as the tests below hold.
    let result =
        unsafe { libc::ioctl(on.as_raw_fd(), libc::Ioctl::from(request), std::ptr::from_mut(arguments)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn volume(name: &CStr) -> io::Result<VolumeArguments> {
    let mut arguments = VolumeArguments { descriptor: 0, name: [0; 4088] };
    let bytes = name.to_bytes_with_nul();
    let place = arguments.name.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidFilename)?;
    place.copy_from_slice(bytes);
    Ok(arguments)
}

/// Makes an empty subvolume in a directory.
pub fn create_subvolume(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    request(directory, BTRFS_IOC_SUBVOL_CREATE, &mut volume(name)?)
}

/// Deletes a subvolume of a directory with all that is in it. It is gone from the directory at once; the kernel frees its
/// space in the background.
pub fn destroy_subvolume(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    request(directory, BTRFS_IOC_SNAP_DESTROY, &mut volume(name)?)
}

/// The id of the subvolume that a file or directory is in.
pub fn subvolume_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    let mut arguments = LookupArguments { tree: 0, object: ROOT_INODE, name: [0; 4080] };
    request(file, BTRFS_IOC_INO_LOOKUP, &mut arguments)?;
    Ok(arguments.tree)
}

/// Whether this directory is the root of a subvolume.
pub fn is_subvolume(directory: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(directory).is_ok_and(|status| status.st_ino == ROOT_INODE)
}

/// The id of the file system, as sysfs names it.
fn btrfs_id(on: BorrowedFd<'_>) -> io::Result<String> {
    let mut information = Information { most_devices: 0, devices: 0, id: [0; 16], rest: [0; 124] };
    request(on, BTRFS_IOC_FS_INFO, &mut information)?;
    let mut text = String::with_capacity(36);
    for (at, byte) in information.id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    Ok(text)
}

/// Where the kernel shows a file system's quota groups: `LEVEL_SUBVOLUME/referenced`. There is nothing where quotas are off.
pub fn quota_groups(on: BorrowedFd<'_>) -> io::Result<PathBuf> {
    Ok(Path::new("/sys/fs/btrfs").join(btrfs_id(on)?).join("qgroups"))
}

/// Whether a file system has quotas switched on, and enforces limits.
pub fn has_quotas(on: BorrowedFd<'_>) -> bool {
    quota_groups(on).is_ok_and(|groups| groups.is_dir())
}

/// Whether it counts, too, as far as that is to be relied on.
pub fn counts_subvolumes(on: BorrowedFd<'_>) -> bool {
    quota_groups(on).is_ok_and(|groups| {
        let inconsistent = fs::read_to_string(groups.join("inconsistent")).unwrap_or_default();
        groups.is_dir() && inconsistent.trim() != "1"
    })
}

/// Bytes that a subvolume refers to, as of the last commit of the file system.
pub fn referenced(on: BorrowedFd<'_>, subvolume: u64) -> io::Result<u64> {
    figure(on, subvolume, "referenced")
}

/// The limit on them; 0 is none.
pub fn most_referenced(on: BorrowedFd<'_>, subvolume: u64) -> io::Result<u64> {
    figure(on, subvolume, "max_referenced")
}

/// A figure of the quota group that a subvolume has by itself.
fn figure(on: BorrowedFd<'_>, subvolume: u64, name: &str) -> io::Result<u64> {
    let path = quota_groups(on)?.join(format!("0_{subvolume}")).join(name);
    fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

/// Limits what a subvolume refers to, by the quota group that it has by itself, to so many bytes; `None` takes the limit away.
/// `on` is of another subvolume, or there must be room in this one (Linux, `fs/btrfs/ioctl.c`, `btrfs_ioctl_qgroup_limit`).
pub fn limit_subvolume(on: BorrowedFd<'_>, subvolume: u64, bytes: Option<u64>) -> io::Result<()> {
    let mut arguments = LimitArguments {
        group: subvolume,
        flags: LIMIT_REFERENCED,
        most_referenced: bytes.unwrap_or(NO_LIMIT),
        ..LimitArguments::default()
    };
    request(on, BTRFS_IOC_QGROUP_LIMIT, &mut arguments)
}

/// Removes the quota group of a subvolume. Newer kernels refuse with EBUSY while there is a subvolume, and remove it
/// with that by themselves.
pub fn remove_quota_group(on: BorrowedFd<'_>, subvolume: u64) -> io::Result<()> {
    request(on, BTRFS_IOC_QGROUP_CREATE, &mut GroupArguments { create: 0, group: subvolume })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_sizes_of_their_structures() {
        let size = |request: u32| usize::try_from(request >> 16 & 0x3fff).unwrap();
        assert_eq!(size(BTRFS_IOC_SUBVOL_CREATE), size_of::<VolumeArguments>());
        assert_eq!(size(BTRFS_IOC_SNAP_DESTROY), size_of::<VolumeArguments>());
        assert_eq!(size(BTRFS_IOC_INO_LOOKUP), size_of::<LookupArguments>());
        assert_eq!(size(BTRFS_IOC_FS_INFO), size_of::<Information>());
        assert_eq!(size(BTRFS_IOC_QGROUP_CREATE), size_of::<GroupArguments>());
        assert_eq!(size(BTRFS_IOC_QGROUP_LIMIT), size_of::<LimitArguments>());
    }

    #[test]
    fn a_name_has_to_fit() {
        assert!(volume(c"short").is_ok());
        let long = std::ffi::CString::new(vec![b'x'; 5000]).unwrap();
        assert!(volume(&long).is_err());
    }
}
