//! Directories: opened, listed, and walked with all that is in them, by descriptors.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};

/// How deep a descent goes, which holds a descriptor for each level: no depth uses up the descriptors of this process.
pub(crate) const DEPTH: usize = 100;

/// Opens a directory for reading.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    open_beneath(CWD, path)
}

/// Opens a directory in another one for reading.
pub(crate) fn open_beneath(parent: impl AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Tells of each entry of a directory, by name and kind (*unknown* on file systems that do not say it), from where the open
/// directory was read to.
pub(crate) fn each_entry(
    directory: BorrowedFd<'_>,
    mut tell: impl FnMut(&CStr, FileType) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            tell(name, entry.file_type())?;
        }
    }
    Ok(())
}

/// Whether anybody changes a tree while it is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Nobody does: what can't be looked at is an error.
    Still,
    /// A container may be running in it: what has just gone is passed over.
    Changing,
}

/// Something in a tree.
pub(crate) struct Found<'a> {
    pub(crate) status: &'a Stat,
    pub(crate) kind: FileType,
    /// Whether it is a directory that lies too deep to be looked into.
    pub(crate) is_too_deep: bool,
}

/// Tells of everything in a tree, each file once however many names it has; of a directory before what is in it.
pub(crate) fn walk(
    directory: BorrowedFd<'_>,
    tree: Tree,
    tell: &mut impl FnMut(&Found<'_>),
) -> io::Result<()> {
    descend(directory, 0, tree, (&mut HashSet::new(), tell))
}

fn descend(
    directory: BorrowedFd<'_>,
    depth: usize,
    tree: Tree,
    (seen, tell): (&mut HashSet<u64>, &mut impl FnMut(&Found<'_>)),
) -> io::Result<()> {
    let passed_over = |error: io::Error| if tree == Tree::Changing { Ok(()) } else { Err(error) };
    each_entry(directory, |name, _| {
        let status = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(errno) => return passed_over(errno.into()),
        };
        let kind = FileType::from_raw_mode(status.st_mode);
        let is_directory = kind == FileType::Directory;
        if !is_directory && status.st_nlink > 1 && !seen.insert(status.st_ino) {
            return Ok(());
        }
        tell(&Found { status: &status, kind, is_too_deep: is_directory && depth == DEPTH });
        if !is_directory || depth == DEPTH {
            return Ok(());
        }
        match open_beneath(directory, name) {
            Ok(child) => descend(child.as_fd(), depth + 1, tree, (&mut *seen, &mut *tell)),
            Err(error) => passed_over(error),
        }
    })
}
