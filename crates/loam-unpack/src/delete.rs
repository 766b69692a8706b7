//! Deleting trees of files by descriptors, whatever a container or a layer has put into them. What lies deeper
//! than a hundred levels is first moved up.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::directory::{DEPTH, each_entry, open_beneath};

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
    let mut subdirectories: Vec<CString> = Vec::new();
    each_entry(directory, |name, kind| {
        if kind == FileType::Directory {
            subdirectories.push(name.to_owned());
            return Ok(());
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                subdirectories.push(name.to_owned());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    })?;
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
}
