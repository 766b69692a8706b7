//! How much a copy may write to the host.
//!
//! What comes out of a container says itself how large it is, and a file of any size costs a container nothing: so a
//! copy takes no more than a file system had free when the copy came there, less a reserve, blocks of zeros counted too.
//! That also bounds how long it takes.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{fstat, fstatvfs};

/// What always stays free, in bytes; less on a small file system.
const RESERVE: u64 = 64 << 20;

/// What a file takes beside its data, in bytes.
const ENTRY_COST: u64 = 4096;

/// The bytes left for the copy, by the file system's device.
#[derive(Debug, Default)]
pub(super) struct Room(HashMap<u64, u64>);

impl Room {
    /// Takes what a file of this size, in bytes, needs where this open file is.
    pub(super) fn take(&mut self, place: impl AsFd, size: u64) -> io::Result<()> {
        let device = fstat(&place)?.st_dev;
        let left = match self.0.get(&device) {
            Some(left) => *left,
            None => free(place)?,
        };
        let need = size.saturating_add(ENTRY_COST);
        let rest = left.checked_sub(need).ok_or_else(|| {
            let message = format!(
                "it needs {size} bytes, and the copy has {} left of what is free here",
                left.saturating_sub(ENTRY_COST)
            );
            io::Error::new(io::ErrorKind::StorageFull, message)
        })?;
        self.0.insert(device, rest);
        Ok(())
    }
}

/// What is free for a copy, in bytes.
fn free(place: impl AsFd) -> io::Result<u64> {
    let status = fstatvfs(place)?;
    let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
    if status.f_blocks == 0 {
        // A file system in memory without a limit of its own.
        return Ok(u64::MAX);
    }
    Ok(bytes(status.f_bavail).saturating_sub(RESERVE.min(bytes(status.f_blocks) / 100)))
}
