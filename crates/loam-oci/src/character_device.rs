//! Which character device an open file is (kernel documentation, devices.txt).

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, fstat, makedev};

/// Major and minor number.
type Numbers = (u32, u32);

/// The null device, which is the whole host's.
pub(crate) const NULL: Numbers = (1, 3);
/// What pseudoterminals are made by, `/dev/ptmx`.
pub(crate) const TERMINAL_MAKER: Numbers = (5, 2);

/// Whether a file is this device.
pub(crate) fn is_character_device(file: BorrowedFd<'_>, device: Numbers) -> rustix::io::Result<bool> {
    let found = fstat(file)?;
    let is_one = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    Ok(is_one && found.st_rdev == makedev(device.0, device.1))
}
