//! What an entry takes on the disk, at the most on any of the usual file systems.

use serde::{Deserialize, Serialize};

use super::Attributes;
use crate::archive::{Entry, EntryKind, Segment};

/// What a name takes in a directory: 255 bytes, and as much again, since directories' blocks are half full.
const NAME: u64 = 1024;
/// A symbolic link whose target is shorter needs no block (ext4, "Symbolic Links").
const SHORT_TARGET: usize = 60;
/// Extended attributes up to so many bytes lie beside the inode.
const SHORT_ATTRIBUTES: u64 = 512;
/// What the record of one part of a sparse file takes.
const EXTENT: u64 = 64;

/// Bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

impl Cost {
    /// What an entry takes, without the attributes of a directory, which it gets last.
    pub(super) fn of(entry: &Entry, block: u64) -> Self {
        let content = match entry.kind {
            EntryKind::HardLink => return Self { bytes: NAME, inodes: 0 },
            EntryKind::Directory => return Self::directory(block),
            EntryKind::CharacterDevice | EntryKind::BlockDevice | EntryKind::Fifo => 0,
            EntryKind::Symlink if entry.link.len() < SHORT_TARGET => 0,
            EntryKind::Symlink => whole_blocks(entry.link.len() as u64, block),
            EntryKind::File => {
                let data = match &entry.sparse {
                    Some((segments, _)) => sparse(segments, block),
                    None => whole_blocks(entry.size, block),
                };
                data.saturating_add(attributes(Attributes::stored_bytes(entry), block))
            }
        };
        Self::node(block).plus(Self { bytes: content, inodes: 0 })
    }

    /// What an inode takes with its name.
    pub(super) fn node(block: u64) -> Self {
        Self { bytes: block, inodes: 1 }
    }

    /// What an empty directory takes.
    pub(super) fn directory(block: u64) -> Self {
        Self { bytes: 2 * block, inodes: 1 }
    }

    /// What a directory's extended attributes take.
    pub(super) fn of_attributes(bytes: usize, block: u64) -> Self {
        Self { bytes: attributes(bytes as u64, block), inodes: 0 }
    }

    /// What a copy of a file of so many bytes takes.
    pub(super) fn copy(size: u64, block: u64) -> Self {
        Self::node(block).plus(Self { bytes: whole_blocks(size, block), inodes: 0 })
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

fn whole_blocks(bytes: u64, block: u64) -> u64 {
    bytes.div_ceil(block).saturating_mul(block)
}

fn attributes(bytes: u64, block: u64) -> u64 {
    if bytes <= SHORT_ATTRIBUTES { 0 } else { whole_blocks(bytes, block) }
}

/// The blocks that the parts of a sparse file touch; they ascend.
fn sparse(segments: &[Segment], block: u64) -> u64 {
    let (mut blocks, mut end) = (0, 0);
    for segment in segments.iter().filter(|segment| segment.length > 0) {
        let first = (segment.offset / block).max(end);
        end = segment.offset.saturating_add(segment.length).div_ceil(block);
        blocks += end.saturating_sub(first);
    }
    blocks.saturating_mul(block).saturating_add(whole_blocks(segments.len() as u64 * EXTENT, block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryKind, size: u64) -> Entry {
        Entry { kind, size, ..Entry::default() }
    }

    #[test]
    fn an_entry_costs_whole_blocks() {
        let cost = |entry: &Entry| Cost::of(entry, 4096).bytes / 4096;
        let file = |size| cost(&entry(EntryKind::File, size));
        assert_eq!([0, 1, 4096, 4097, u64::MAX / 4].map(file), [1, 2, 2, 3, (1 << 50) + 1]);
        let link = |length| cost(&Entry { link: vec![b'x'; length], ..entry(EntryKind::Symlink, 0) });
        assert_eq!([1, 59, 60, 4095].map(link), [1, 1, 2, 2]);
        let attributes = |length| {
            let xattrs =
                vec![(b"user.x".to_vec(), vec![0; length]), (b"security.ima".to_vec(), vec![0; 9000])];
            cost(&Entry { xattrs, ..entry(EntryKind::File, 0) })
        };
        assert_eq!([20, 1000, 5000].map(attributes), [1, 2, 3], "what is not stored costs nothing");
        assert_eq!(cost(&entry(EntryKind::Directory, 0)), 2);
        assert_eq!(Cost::of(&entry(EntryKind::HardLink, 0), 4096), Cost { bytes: 1024, inodes: 0 });
    }

    #[test]
    fn holes_cost_nothing_and_islands_whole_blocks() {
        let sparse = |segments: &[(u64, u64)]| {
            let segments = segments.iter().map(|&(offset, length)| Segment { offset, length }).collect();
            let entry = Entry { sparse: Some((segments, 1 << 60)), ..entry(EntryKind::File, 0) };
            Cost::of(&entry, 4096).bytes / 4096 - 2
        };
        assert_eq!(sparse(&[(1 << 50, 1)]), 1);
        assert_eq!(sparse(&[(0, 1), (4095, 2), (8000, 100), (1 << 40, 0)]), 2);
        assert_eq!(sparse(&[(4095, 2), (1 << 40, 4096)]), 3);
    }
}
