//! Starting a program that shall not see what is mounted at one place.

use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Has a command start in a mount namespace of its own, copied from this process's, in which an empty directory covers
/// a place. Nobody else sees the cover, and it vanishes with the last process of that namespace.
pub fn cover_in_child(command: &mut Command, place: &'static CStr) {
    // SAFETY: the closure runs in the forked child and makes nothing but system calls with constants: it neither
    // allocates nor takes locks.
    unsafe { command.pre_exec(move || cover(place)) };
}

fn cover(place: &CStr) -> io::Result<()> {
    let none = ptr::null();
    // SAFETY: unshare(2) takes a number; the child has one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // SAFETY: every pointer is null or a text that ends with zero. The mount may pass on what happens to it, also to
    // other namespaces: this ends that here.
    check(unsafe { libc::mount(none, place.as_ptr(), none, libc::MS_PRIVATE, none.cast()) })?;
    let kind = c"tmpfs".as_ptr();
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let options = c"size=64k,mode=700".as_ptr();
    // SAFETY: every pointer is a text that ends with zero.
    check(unsafe { libc::mount(kind, place.as_ptr(), kind, flags, options.cast()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
