//! What the files of a tree take, counted by walking it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Stat};

use crate::directory::{Tree, open_beneath, walk};

/// Bytes that the files of a tree occupy, as the file system counts them, each once however many names it has. Directories
/// that lie deeper than a hundred levels are not looked into. A container may be running in the tree.
pub fn usage(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let mut sum = 0;
    walk(directory, Tree::Changing, &mut |found| sum += occupied(found.status))?;
    Ok(sum)
}

/// Bytes of the contents of all regular files of a tree, each once however many names it has, likewise no deeper than a hundred
/// levels.
pub fn file_bytes(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let mut sum = 0;
    walk(directory, Tree::Still, &mut |found| {
        if found.kind == FileType::RegularFile {
            sum += size(found.status);
        }
    })?;
    Ok(sum)
}

/// What the files of a tree take, seen as an entry's charge sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes of regular files, in whole blocks; holes count nothing, and neither does what the file system holds ready behind
    /// the end of a file.
    pub(crate) bytes: u64,
    /// Everything with an inode, each once.
    pub(crate) inodes: u64,
    /// Whether nothing lay too deep to be looked at.
    pub(crate) is_all: bool,
}

/// Counts a tree of whoever made it, which nobody changes any more.
pub(crate) fn taken(directory: BorrowedFd<'_>, block: u64) -> io::Result<Taken> {
    let mut taken = Taken { is_all: true, ..Taken::default() };
    // Anew: whoever else has this open file may have read it to its end.
    let directory = open_beneath(directory, c".")?;
    walk(directory.as_fd(), Tree::Still, &mut |found| {
        taken.inodes += 1;
        taken.is_all &= !found.is_too_deep;
        if found.kind == FileType::RegularFile {
            let size = size(found.status).div_ceil(block).saturating_mul(block);
            taken.bytes = taken.bytes.saturating_add(size.min(occupied(found.status)));
        }
    })?;
    Ok(taken)
}

/// Bytes of a file's contents.
fn size(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(0)
}

/// Bytes that a file occupies on the disk (stat(2), `st_blocks`).
fn occupied(status: &Stat) -> u64 {
    u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(512)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::directory::DEPTH;
    use crate::open_directory;

    #[test]
    fn usage_counts_blocks() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("d")).expect("d");
        fs::write(directory.path().join("d/file"), vec![1; 100_000]).expect("file");
        fs::hard_link(directory.path().join("d/file"), directory.path().join("again")).expect("link");
        let fd = open_directory(directory.path()).expect("opens");
        let bytes = usage(fd.as_fd()).expect("counts");
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn contents_and_inodes_count_once_and_what_lies_too_deep_is_told() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let deepest = directory.path().join("d/".repeat(DEPTH));
        fs::create_dir_all(&deepest).expect("directories");
        fs::write(deepest.join("file"), vec![1; 5000]).expect("file");
        fs::hard_link(deepest.join("file"), directory.path().join("again")).expect("link");
        fs::File::create(directory.path().join("hole")).expect("file").set_len(1 << 30).expect("a hole");
        let fd = || open_directory(directory.path()).expect("opens");
        assert_eq!(file_bytes(fd().as_fd()).expect("counts"), 5000 + (1 << 30));
        let all = Taken { bytes: 8192, inodes: DEPTH as u64 + 2, is_all: true };
        assert_eq!(taken(fd().as_fd(), 4096).expect("counts"), all);
        fs::create_dir(deepest.join("d")).expect("a directory");
        fs::write(deepest.join("d/unseen"), "x").expect("file");
        let some = Taken { inodes: all.inodes + 1, is_all: false, ..all };
        assert_eq!(taken(fd().as_fd(), 4096).expect("counts"), some);
        assert_eq!(file_bytes(fd().as_fd()).expect("counts"), 5000 + (1 << 30));
    }
}
