//! Deleting directory trees by descriptors, whatever a container or a layer has put into them.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use crate::directory::open_beneath;

/// How deep the descent holds a descriptor for each level. Deeper directories are first moved up, so that no depth
/// uses up the descriptors of this process.
const DEPTH: usize = 100;

/// Deletes what `name` in `parent` is, with all below it; success when it is gone already.
pub fn tree(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // EPERM is what POSIX says for a directory, EISDIR what Linux says.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    // A fresh overlay's work directory, and most directories of a short-lived container, are empty.
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // Directories that lay too deep come to the top, and make another round necessary; each round takes off a
    // hundred levels.
    let top = open_beneath(parent, name)?;
    loop {
        let mut moved = 0;
        let directory = open_beneath(parent, name)?;
        empty(directory.as_fd(), top.as_fd(), 1, &mut moved)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) if moved > 0 => {}
            other => return Ok(other?),
        }
    }
}

/// Deletes everything in a directory; `top` takes the directories that lie too deep.
fn empty(directory: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut subdirectories: Vec<CString> = Vec::new();
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            subdirectories.push(name.to_owned());
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => subdirectories.push(name.to_owned()),
            Err(error) => return Err(error.into()),
        }
    }
    for name in &subdirectories {
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        if depth == DEPTH {
            move_up(directory, name, top, moved)?;
            continue;
        }
        let child = open_beneath(directory, name)?;
        empty(child.as_fd(), top, depth + 1, moved)?;
        rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

fn move_up(
    directory: BorrowedFd<'_>,
    name: &CString,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        let new = format!("deep-{moved}");
        *moved += 1;
        match rustix::fs::renameat_with(directory, name, top, new, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
    }
}

/// Bytes that the files of a tree occupy, as the file system counts them, each once however many names it has. Directories
/// that lie deeper than a hundred levels are not looked into.
pub fn usage(directory: BorrowedFd<'_>) -> io::Result<u64> {
    count_blocks(directory, 0, &mut HashSet::new())
}

fn count_blocks(directory: BorrowedFd<'_>, depth: usize, seen: &mut HashSet<u64>) -> io::Result<u64> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut sum = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // The container may be running: what has just gone is not counted.
        let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink == 1 || seen.insert(stat.st_ino) {
            sum += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
        if is_directory && depth < DEPTH {
            let Ok(child) = open_beneath(directory, name) else { continue };
            sum += count_blocks(child.as_fd(), depth + 1, seen)?;
        }
    }
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
    count_taken(directory.as_fd(), 0, block, (&mut taken, &mut HashSet::new()))?;
    Ok(taken)
}

fn count_taken(
    directory: BorrowedFd<'_>,
    depth: usize,
    block: u64,
    (taken, seen): (&mut Taken, &mut HashSet<u64>),
) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 && !seen.insert(stat.st_ino) {
            continue;
        }
        taken.inodes += 1;
        match kind {
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0).div_ceil(block).saturating_mul(block);
                let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
                taken.bytes = taken.bytes.saturating_add(size.min(blocks));
            }
            FileType::Directory if depth < DEPTH => {
                count_taken(open_beneath(directory, name)?.as_fd(), depth + 1, block, (taken, seen))?;
            }
            FileType::Directory => taken.is_all = false,
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of the contents of all regular files of a tree, each once however many names it has.
pub fn file_bytes(directory: BorrowedFd<'_>, depth: usize) -> io::Result<u64> {
    count_files(directory, depth, &mut HashSet::new())
}

fn count_files(directory: BorrowedFd<'_>, depth: usize, seen: &mut HashSet<u64>) -> io::Result<u64> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut sum = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_nlink == 1 || seen.insert(stat.st_ino) => {
                sum += u64::try_from(stat.st_size).unwrap_or(0);
            }
            FileType::Directory if depth < DEPTH => {
                sum += count_files(open_beneath(directory, name)?.as_fd(), depth + 1, seen)?;
            }
            _ => {}
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn any_depth_and_links_are_deleted_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).expect("canary");
        fs::write(canary.join("file"), "x").expect("canary");
        let parent = open_beneath(rustix::fs::CWD, directory.path()).expect("opens");
        rustix::fs::mkdirat(&parent, "tree", Mode::RWXU).expect("tree");
        let mut deep = open_beneath(parent.as_fd(), "tree").expect("tree");
        for _ in 0..350 {
            rustix::fs::symlinkat(&canary, &deep, "link").expect("link");
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).expect("deeper");
            deep = open_beneath(deep.as_fd(), "d").expect("deeper");
        }
        tree(&parent, "tree").expect("deletes");
        tree(&parent, "tree").expect("is gone already");
        assert!(!directory.path().join("tree").exists());
        assert_eq!(fs::read_to_string(canary.join("file")).expect("canary"), "x");
    }

    #[test]
    fn usage_counts_blocks() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("d")).expect("d");
        fs::write(directory.path().join("d/file"), vec![1; 100_000]).expect("file");
        fs::hard_link(directory.path().join("d/file"), directory.path().join("again")).expect("link");
        let fd = open_beneath(rustix::fs::CWD, directory.path()).expect("opens");
        let bytes = usage(fd.as_fd()).expect("counts");
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }
}
