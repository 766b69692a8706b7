//! The table of file descriptors as a whole.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Closes every descriptor but the standard streams and these (close_range(2), Linux 5.9), whoever believes to own the
/// others: only for a process that will never come back to what it had open, such as a new one that is about to become
/// another program.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<libc::c_uint> = kept
        .iter()
        .map(|descriptor| descriptor.as_raw_fd().unsigned_abs())
        .filter(|number| *number > 2)
        .collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        close_range(first, number.saturating_sub(1))?;
        first = first.max(number + 1);
    }
    close_range(first, libc::c_uint::MAX)
}

fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: takes integers. Owners of closed descriptors get EBADF from then on, as the caller documents.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves a descriptor to a number of one's choice, close-on-exec, in place of what was there.
pub fn move_to(descriptor: OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == number {
        return Ok(descriptor);
    }
    // SAFETY: takes integers only. Whoever owned `number` finds the new file there, as the callers document.
    let result = unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup3 has just made this descriptor, and nobody else was given it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Duplicates a descriptor that whoever started this process has left open for it, close-on-exec. The number itself stays
/// open.
pub fn duplicate_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only; a number that is not open is refused.
    let result = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fcntl has just made this descriptor, and nobody else was given it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}
