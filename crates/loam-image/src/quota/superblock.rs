//! What an ext4 file system says of its own size (kernel documentation, filesystems/ext4/super.rst).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where the superblock is, and how much of it counts here.
const OFFSET: u64 = 1024;
const LENGTH: usize = 1024;
/// `s_magic`.
const MAGIC: u16 = 0xef53;
/// The kernel keeps a fiftieth of the blocks, at most so many, for its own bookkeeping on a full disk.
const KEPT: (u64, u64) = (50, 4096);

/// The sizes of a file system, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Bytes of a block.
    pub(super) block: u64,
    /// All blocks.
    pub(super) blocks: u64,
    /// Those in use by nothing.
    pub(super) free: u64,
}

impl Superblock {
    /// Reads it from a file. What it says is true while the file is not mounted.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, OFFSET)?;
        Self::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no ext4 file system"))
    }

    fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let wide = |low: usize, high: usize| u64::from(word(high)) << 32 | u64::from(word(low));
        let magic = u16::from_le_bytes([bytes[0x38], bytes[0x39]]);
        let shift = word(0x18);
        (magic == MAGIC && shift <= 6).then(|| Self {
            block: 1024 << shift,
            blocks: wide(0x4, 0x150),
            free: wide(0xc, 0x158),
        })
    }

    /// Blocks that the kernel lets nobody write to.
    pub(super) fn kept(&self) -> u64 {
        (self.blocks / KEPT.0).min(KEPT.1)
    }

    /// Bytes that can still be written.
    pub(super) fn available(&self) -> u64 {
        self.free.saturating_sub(self.kept()) * self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[(usize, u32)]) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        for (at, word) in words {
            bytes[*at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn sizes_are_of_64_bits() {
        let magic = (0x38, u32::from(MAGIC));
        let small = bytes(&[magic, (0x18, 2), (4, 1000), (0xc, 900)]);
        let small = Superblock::parse(&small).expect("ext4");
        assert_eq!(small, Superblock { block: 4096, blocks: 1000, free: 900 });
        assert_eq!((small.kept(), small.available()), (20, 880 * 4096));
        let large = bytes(&[magic, (0x18, 2), (4, 7), (0x150, 1), (0xc, 5), (0x158, 1)]);
        let large = Superblock::parse(&large).expect("ext4");
        assert_eq!((large.blocks, large.free), ((1 << 32) + 7, (1 << 32) + 5));
        assert_eq!(large.kept(), 4096);
    }

    #[test]
    fn other_bytes_are_no_superblock() {
        assert_eq!(Superblock::parse(&[0; LENGTH]), None);
        assert_eq!(Superblock::parse(&[0xff; LENGTH]), None);
        assert_eq!(Superblock::parse(&bytes(&[(0x38, u32::from(MAGIC)), (0x18, 60)])), None);
    }
}
