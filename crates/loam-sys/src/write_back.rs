//! Having the kernel write to the disk what it would keep for later.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Begins to write a file's data to the disk, and waits for nothing (sync_file_range(2)). It is no promise that the data is
/// there: that takes a sync, which then has less to do.
pub fn begin_write_back(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes numbers and touches no memory of this process.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
