//! Loop devices: a file as a block device (loop(4)).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const LOOP_CONFIGURE: u32 = 0x4c0a;
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
/// The kernel lets the file go with the device's last user.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// The file is read and written past the page cache, where its file system can do that: pages are not kept twice.
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// The device's block size: what every file system that a loop device's file lies on can do.
const BLOCK: u32 = 4096;
/// How often another process may take the free device that the kernel named.
const MAX_TRIES: u32 = 64;

/// `struct loop_info64`.
#[repr(C)]
struct Information {
    numbers: [u64; 3],
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    encryption_name: [u8; 64],
    encryption_key: [u8; 32],
    initial: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Configuration {
    descriptor: u32,
    block_size: u32,
    information: Information,
    reserved: [u64; 8],
}

/// A loop device with a file. The kernel lets go of both when this is dropped and nothing on the device is mounted.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
    _open: OwnedFd,
}

impl LoopDevice {
    /// Attaches a file that is open for reading and writing to a free device. The device uses this very open file: a lock
    /// of flock(2) on it is held as long as the device has it.
    ///
    /// # Errors
    /// `NotFound` when there is no `/dev/loop-control`, or no node for the device.
    pub(crate) fn attach(file: BorrowedFd<'_>) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        for _ in 1..MAX_TRIES {
            // SAFETY: the request takes no argument and touches no memory.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), libc::Ioctl::from(LOOP_CTL_GET_FREE)) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device: OwnedFd = File::options().read(true).write(true).open(&path)?.into();
            match configure(device.as_fd(), file) {
                Ok(()) => return Ok(Self { path, _open: device }),
                // Another process was quicker.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// The device's node.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    let configuration = Configuration {
        descriptor: file.as_raw_fd().unsigned_abs(),
        block_size: BLOCK,
        information: Information {
            numbers: [0; 3],
            offset: 0,
            size_limit: 0,
            number: 0,
            encryption: [0; 2],
            flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
            file_name: [0; 64],
            encryption_name: [0; 64],
            encryption_key: [0; 32],
            initial: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the request reads a `struct loop_config`, which `configuration` is; the test below holds its size.
    let result = unsafe {
        libc::ioctl(device.as_raw_fd(), libc::Ioctl::from(LOOP_CONFIGURE), &raw const configuration)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernel_s_sizes() {
        assert_eq!(size_of::<Information>(), 232);
        assert_eq!(size_of::<Configuration>(), 304);
    }
}
