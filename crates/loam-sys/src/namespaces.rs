//! Leaving namespaces, and the first device of a new network namespace.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::thread::UnshareFlags;

/// Gives this process a cgroup namespace of its own; its present cgroups become the roots that it sees.
pub fn unshare_cgroup() -> io::Result<()> {
    unshare(UnshareFlags::NEWCGROUP)
}

/// Makes a time namespace for the children of this process.
pub fn unshare_time_for_children() -> io::Result<()> {
    unshare(UnshareFlags::NEWTIME)
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the table of descriptors stays shared: none of the callers passes FILES.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Brings up the loopback device of this process's network namespace.
pub fn bring_loopback_up() -> io::Result<()> {
    let socket: OwnedFd =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: an all-zero `ifreq` is a valid value of the plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *place = byte.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOOPBACK;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which `request` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves the calling thread into a new network namespace; threads that it starts later are in it too.
pub fn new_network_namespace() -> io::Result<()> {
    unshare(UnshareFlags::NEWNET)
}
