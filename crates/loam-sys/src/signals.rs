//! Signals to processes that are named by a descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sends any signal number, real-time signals too, to the process (pidfd_send_signal(2)).
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: takes integers; a null `siginfo` asks for the one that kill(2) would make.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
