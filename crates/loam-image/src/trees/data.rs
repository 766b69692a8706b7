//! Copying what is in a file, and leaving its holes holes.

use std::os::fd::OwnedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// How much is read at a time where the kernel does not copy by itself.
const PIECE: usize = 256 << 10;

/// Copies the first `size` bytes of a file into an empty one: by sharing the blocks where the file system can.
pub(super) fn copy_data(from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<(), Errno> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut position = 0;
    while position < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(position)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            // The file system knows of no holes.
            Err(_) => position,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        copy_range(from, to, start, end)?;
        position = end.max(start + 1);
    }
    rustix::fs::ftruncate(to, size)
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, mut start: u64, end: u64) -> Result<(), Errno> {
    while start < end {
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        let (mut read, mut written) = (start, start);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), length) {
            // The file is shorter than it was.
            Ok(0) => return Ok(()),
            Ok(count) => start += count as u64,
            // Between these file systems, or by this kernel, it can't be done.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) => {
                return copy_by_hand(from, to, start, end);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, mut start: u64, end: u64) -> Result<(), Errno> {
    let mut piece = vec![0; PIECE];
    while start < end {
        let length = usize::try_from(end - start).unwrap_or(PIECE).min(PIECE);
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut piece[..length], start))?;
        if count == 0 {
            return Ok(());
        }
        let mut written = 0;
        while written < count {
            let at = start + written as u64;
            written += rustix::io::retry_on_intr(|| rustix::io::pwrite(to, &piece[written..count], at))?;
        }
        start += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    fn files() -> (File, File) {
        (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"))
    }

    #[test]
    fn holes_stay_holes_whichever_way_it_is_copied() {
        let (from, _) = files();
        from.write_all_at(b"first", 0).expect("written");
        from.write_all_at(b"last", 9 << 20).expect("written");
        from.set_len(20 << 20).expect("longer");
        let size = from.metadata().expect("status").len();
        let from = OwnedFd::from(from);
        for by_hand in [false, true] {
            let (_, to) = files();
            let to = OwnedFd::from(to);
            if by_hand {
                copy_by_hand(&from, &to, 0, 5).expect("copied");
                copy_by_hand(&from, &to, 9 << 20, (9 << 20) + 4).expect("copied");
                rustix::fs::ftruncate(&to, size).expect("longer");
            } else {
                copy_data(&from, &to, size).expect("copied");
            }
            let to = File::from(to);
            let status = to.metadata().expect("status");
            assert_eq!(status.len(), size);
            assert!(status.blocks() * 512 < 1 << 20, "{} blocks", status.blocks());
            let mut found = [0; 5];
            to.read_exact_at(&mut found, 0).expect("read");
            assert_eq!(&found, b"first");
            to.read_exact_at(&mut found[..4], 9 << 20).expect("read");
            assert_eq!(&found[..4], b"last");
        }
    }
}
