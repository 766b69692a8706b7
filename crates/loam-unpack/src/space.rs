//! What is free on the store's file system.

use std::os::fd::AsFd;

use rustix::fs::StatVfs;
use serde::{Deserialize, Serialize};

/// What is kept free, whatever is pulled: so many bytes, or a hundredth where that is less.
const RESERVE: u64 = 64 << 20;
/// The same for inodes.
const INODE_RESERVE: u64 = 4096;

/// What may be used of a file system at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Bytes of a block, the least that is given out.
    pub block: u64,
    /// Bytes that are free, less a reserve.
    pub bytes: u64,
    /// Inodes that are free, less a reserve; `None` where the file system does not count them, as btrfs.
    pub inodes: Option<u64>,
}

impl Space {
    /// Asks the file system that an open file is on (statvfs(3)).
    pub fn look(on: impl AsFd) -> rustix::io::Result<Self> {
        rustix::fs::fstatvfs(on).map(|status| Self::of(&status))
    }

    fn of(status: &StatVfs) -> Self {
        let block = status.f_frsize.max(512);
        let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
        let less = |free: u64, reserve: u64, all: u64| free.saturating_sub(reserve.min(all / 100));
        let counts_inodes = status.f_files > 0 && status.f_favail > 0;
        Self {
            block,
            bytes: less(bytes(status.f_bavail), RESERVE, bytes(status.f_blocks)),
            inodes: counts_inodes.then(|| less(status.f_favail, INODE_RESERVE, status.f_files)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_inodes_may_be_uncounted() {
        let mut status = rustix::fs::statvfs("/").expect("a root");
        (status.f_frsize, status.f_blocks, status.f_bavail) = (1024, 1000, 500);
        (status.f_files, status.f_favail) = (2000, 30);
        assert_eq!(Space::of(&status), Space { block: 1024, bytes: 490 * 1024, inodes: Some(10) });
        (status.f_files, status.f_favail) = (1 << 30, 5000);
        (status.f_blocks, status.f_bavail) = (1 << 30, 65_536);
        assert_eq!(Space::of(&status), Space { block: 1024, bytes: 0, inodes: Some(904) });
        for (files, free) in [(0, 0), (0, 7), (7, 0)] {
            (status.f_files, status.f_favail) = (files, free);
            assert_eq!(Space::of(&status).inodes, None);
        }
    }
}
