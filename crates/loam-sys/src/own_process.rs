//! Changes that a process makes to itself: descriptors, memory, ids for file access, its mount namespace.

use std::io;

/// Closes every descriptor from `first` up. Descriptors that Rust objects own are closed under them only if the caller made
/// some before: it is for the first statement of a program, and for what is about to become another.
pub fn close_from(first: u32) -> io::Result<()> {
    crate::descriptors::close_range(first, libc::c_uint::MAX)
}

/// Gives memory that was freed back to the kernel.
pub fn release_free_memory() {
    // SAFETY: malloc_trim takes a number and keeps the allocator's own rules.
    unsafe { libc::malloc_trim(0) };
}

/// Sets the user and group id with which this thread makes and opens files (setfsuid(2)). The ids stay the real
/// ones otherwise, but capabilities for files leave the effective set when the user was root and is no more.
pub fn set_file_access_ids(user: u32, group: u32) -> io::Result<()> {
    // SAFETY: setfsgid takes a number and touches no memory.
    unsafe { libc::setfsgid(group) };
    // SAFETY: setfsuid takes a number and touches no memory.
    unsafe { libc::setfsuid(user) };
    // Neither says whether it worked: an impossible id gives the present one.
    // SAFETY: setfsuid with an impossible id changes nothing.
    let now = unsafe { libc::setfsuid(u32::MAX) };
    // SAFETY: likewise.
    let now_group = unsafe { libc::setfsgid(u32::MAX) };
    if now.cast_unsigned() == user && now_group.cast_unsigned() == group {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }
}

/// Moves the calling thread, which must be the only one, into a new mount namespace.
pub fn new_mount_namespace() -> io::Result<()> {
    // SAFETY: unshare of the mount namespace touches no memory; descriptors stay shared.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
