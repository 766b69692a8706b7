//! The reserve: blocks that a full disk still has for the state database.
//!
//! `loam.db-reserve`, beside the database, is a file of [`SIZE`] whose blocks are allocated and never written. Whoever finds
//! no block for the database cuts [`PORTION`] off its end and goes on. Whoever finds space makes it whole again. Its length
//! says how much of it is there. Each portion is allocated by itself, as btrfs frees an extent whole or not at all. Several
//! processes may do all of this at once, and die at any point: no more than a portion goes twice, and a part of the reserve is as
//! good as any other.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

/// Bytes of the whole reserve.
pub(crate) const SIZE: u64 = 512 << 10;

/// What one process takes of it: the index of the log (32 KiB), which whoever opens the database first makes anew, the log of
/// some transactions, and what the file system needs to say where these lie.
pub(crate) const PORTION: u64 = 128 << 10;

/// Bytes of one write where nothing can be allocated without writing.
const WRITE: usize = 32 << 10;

/// The reserve of a database.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(crate) fn of(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-reserve");
        Self { path: path.into() }
    }

    /// Whether all of it is there.
    pub(crate) fn is_whole(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|status| u64::try_from(status.st_size).unwrap_or(0) >= SIZE)
    }

    /// Makes it whole, as far as there is space.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.path, flags, Mode::RUSR | Mode::WUSR)?;
        // Each time from the beginning: one that gives up a part meanwhile leaves no hole. What is there stays as it is.
        (1..=SIZE / PORTION).try_for_each(|portions| allocate(file.as_fd(), portions * PORTION))
    }

    /// Gives a portion back to the file system; false when there is none.
    pub(crate) fn give_up(&self) -> bool {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&self.path, flags, Mode::empty()) else { return false };
        let Ok(status) = rustix::fs::fstat(&file) else { return false };
        let size = u64::try_from(status.st_size).unwrap_or(0);
        // The length alone tells: an empty file may have blocks, on ZFS always, elsewhere for attributes.
        size > 0 && rustix::fs::ftruncate(&file, size.min(SIZE).saturating_sub(PORTION)).is_ok()
    }
}

/// Allocates the first bytes of a file.
pub(crate) fn allocate(file: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes)) {
        // Not every file system can do it without a write, among them ext4 as it was made for older kernels.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write(file, bytes),
        allocated => Ok(allocated?),
    }
}

fn write(file: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let zeros = [0; WRITE];
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(WRITE).min(WRITE);
        at += rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &zeros[..length], at))? as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_has_blocks_and_goes_by_portions() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reserve = Reserve::of(&directory.path().join("loam.db"));
        assert!(!reserve.is_whole() && !reserve.give_up());
        reserve.fill().expect("there is space");
        let status = || fs::metadata(directory.path().join("loam.db-reserve")).expect("is there");
        assert!(reserve.is_whole() && status().blocks() * 512 >= SIZE);
        for left in (0..SIZE / PORTION).rev() {
            assert!(reserve.give_up() && !reserve.is_whole());
            assert_eq!(status().len(), left * PORTION);
        }
        assert_eq!(status().blocks(), 0);
        assert!(!reserve.give_up());
        reserve.fill().expect("there is space");
        reserve.fill().expect("it is there");
        assert!(reserve.is_whole());
    }

    #[test]
    fn an_empty_one_is_used_up_whatever_blocks_it_has() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("loam.db-reserve");
        let file = fs::File::create(&path).expect("made");
        // Behind the end, in place of those that other file systems have for an empty file.
        rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, PORTION).expect("there is space");
        let status = file.metadata().expect("is there");
        assert!(status.len() == 0 && status.blocks() > 0);
        assert!(!Reserve::of(&directory.path().join("loam.db")).give_up());
    }

    #[test]
    fn what_can_t_be_allocated_is_written() {
        let file = tempfile::tempfile().expect("a temporary file");
        write(file.as_fd(), SIZE + 5).expect("there is space");
        let status = file.metadata().expect("is there");
        assert_eq!(status.len(), SIZE + 5);
    }
}
