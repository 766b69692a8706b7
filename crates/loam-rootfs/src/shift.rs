//! What takes the place of idmapped layers where the kernel, or a layer's file system, has none: every file of the
//! mounted root file system is given to the container's users.
//!
//! The overlay copies no contents for that, only owners (`metacopy`, Linux 4.19), into the container's own writable
//! directory; the layers stay as they are and are shared. It takes a few system calls for each file of the image, at
//! the container's first start, and the inodes count as the container's.
//!
//! A file beside the writable directory, [`MARK`], says that its files carry the host's ids. It is made before the first
//! file is changed; a container that has it is never mounted with idmapped layers again, and what a crash left undone is
//! done by the next mount. When all is done, that is written into it, and nobody looks through the files again: before
//! the container has run they are those of its image, afterwards they are whatever it likes.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use loam_model::{ErrorKind, Failure, IdMapping, Result, RootfsPlan};
use loam_sys::magic_link;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::kind_of;

/// The name of the file that says that ids are shifted.
const MARK: &str = "shifted";
/// What is in it when all of them are.
const DONE: &[u8] = b"done\n";
/// The extended attribute with a program's capabilities (linux/capability.h).
const CAPABILITY: &str = "security.capability";
/// Its second version, without the root user of a namespace, and its length in bytes; and its third.
const SECOND: u32 = 0x0200_0000;
const SECOND_LENGTH: usize = 20;
const THIRD: u32 = 0x0300_0000;

/// The mark's path: from the root of the disk file's mount when the plan has one, else absolute.
fn mark(plan: &RootfsPlan) -> Option<PathBuf> {
    plan.upper.as_ref().map(|upper| upper.with_file_name(MARK))
}

/// Where the mark's path begins.
fn start(disk: Option<&OwnedFd>) -> BorrowedFd<'_> {
    disk.map_or(CWD, AsFd::as_fd)
}

/// Whether files of this container may have the host's ids.
pub(crate) fn has_begun(plan: &RootfsPlan, disk: Option<&OwnedFd>) -> bool {
    mark(plan).is_some_and(|mark| rustix::fs::statat(start(disk), &mark, AtFlags::SYMLINK_NOFOLLOW).is_ok())
}

/// Writes down that they may.
pub(crate) fn begin(plan: &RootfsPlan, disk: Option<&OwnedFd>) -> Result<()> {
    let Some(mark) = mark(plan) else {
        let message =
            "a read-only root file system can't be mounted with shifted ids: no idmapped mounts here";
        return Err(Failure::new(ErrorKind::Unsupported, message).hint("use `--userns host`"));
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(start(disk), &mark, flags, Mode::RUSR | Mode::WUSR);
    made.map(drop).map_err(|errno| {
        Failure::new(kind_of(errno), format!("`{}` can't be made", mark.display())).caused_by(errno)
    })
}

/// Whether all files were given to the container's users before.
fn is_done(plan: &RootfsPlan, disk: Option<&OwnedFd>) -> bool {
    let Some(mark) = mark(plan) else { return false };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(start(disk), &mark, flags, Mode::empty()) else { return false };
    let mut text = Vec::new();
    let length = u64::try_from(DONE.len()).unwrap_or(u64::MAX);
    File::from(file).take(length).read_to_end(&mut text).is_ok() && text == DONE
}

/// Writes down that they were. Where a container outlives a power cut, they are on the disk before the word is.
fn finish(plan: &RootfsPlan, disk: Option<&OwnedFd>) -> io::Result<()> {
    let Some(mark) = mark(plan) else { return Ok(()) };
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(start(disk), &mark, flags, Mode::empty())?);
    if !plan.volatile {
        rustix::fs::syncfs(&file)?;
    }
    file.write_all(DONE)?;
    if plan.volatile { Ok(()) } else { file.sync_all() }
}

/// Gives everything in a plan's mounted root file system to the container's users, unless that was done before. What is
/// theirs already stays.
pub(crate) fn shift(root: &OwnedFd, plan: &RootfsPlan, disk: Option<&OwnedFd>) -> Result<()> {
    let Some(mapping) = plan.mapping.as_ref().filter(|_| !is_done(plan, disk)) else { return Ok(()) };
    let message = "the files of the image can't be given to the container's users";
    shift_tree(root, mapping).map_err(|errno| Failure::new(kind_of(errno), message).caused_by(errno))?;
    finish(plan, disk).map_err(|error| Failure::new(ErrorKind::of_io(&error), message).caused_by(error))
}

/// Changes a directory and everything below it, however deep that is: one directory is open at a time. Nobody else has the
/// mount, so that the way up is the way that led down.
fn shift_tree(root: &OwnedFd, mapping: &IdMapping) -> std::result::Result<(), Errno> {
    let status = rustix::fs::fstat(root)?;
    shift_one(root.as_fd(), c"", &status, mapping)?;
    let mut directory = open_directory(root.as_fd(), c".")?;
    let mut left = vec![shift_entries(&directory, mapping)?];
    while let Some(subdirectories) = left.last_mut() {
        if let Some(name) = subdirectories.pop() {
            directory = open_directory(directory.as_fd(), &name)?;
            left.push(shift_entries(&directory, mapping)?);
        } else {
            left.pop();
            if !left.is_empty() {
                directory = open_directory(directory.as_fd(), c"..")?;
            }
        }
    }
    Ok(())
}

/// Changes everything in a directory; gives the names of the directories in it.
fn shift_entries(directory: &OwnedFd, mapping: &IdMapping) -> std::result::Result<Vec<CString>, Errno> {
    let entries: Vec<_> = Dir::read_from(directory)?.collect::<rustix::io::Result<_>>()?;
    let mut subdirectories = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let status = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        shift_one(directory.as_fd(), name, &status, mapping)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            subdirectories.push(name.to_owned());
        }
    }
    Ok(subdirectories)
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Changes the owner of one file, named in an open directory, or that directory itself with an empty name.
fn shift_one(
    directory: BorrowedFd<'_>,
    name: &CStr,
    status: &Stat,
    mapping: &IdMapping,
) -> std::result::Result<(), Errno> {
    let (user, group) = (new_id(status.st_uid, mapping), new_id(status.st_gid, mapping));
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    let is_program =
        FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_mode & 0o111 != 0;
    let path = format!("{}/", magic_link(directory)).into_bytes();
    let path = CString::new([path.as_slice(), name.to_bytes()].concat()).map_err(|_| Errno::INVAL)?;
    let capability = if is_program { capability(&path)? } else { None };
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    rustix::fs::chownat(directory, name, user.map(Uid::from_raw), group.map(Gid::from_raw), flags)?;
    // A change of owner takes these rights away.
    if is_program && status.st_mode & 0o6000 != 0 {
        rustix::fs::chmodat(directory, name, Mode::from_raw_mode(status.st_mode & 0o7777), AtFlags::empty())?;
    }
    if let Some(old) = capability {
        let new = for_namespace(&old, mapping.to_host(0).unwrap_or(0));
        rustix::fs::lsetxattr(path.as_c_str(), CAPABILITY, &new, XattrFlags::empty())?;
    }
    Ok(())
}

/// The host's id for one of the image; `None` when it is one of the host's range already, or none of the container's.
fn new_id(id: u32, mapping: &IdMapping) -> Option<u32> {
    let is_shifted = mapping.ranges.iter().any(|range| id >= range.host && id - range.host < range.size);
    if is_shifted { None } else { mapping.to_host(id) }
}

fn capability(path: &CStr) -> std::result::Result<Option<Vec<u8>>, Errno> {
    let mut value = [0_u8; 64];
    match rustix::fs::lgetxattr(path, CAPABILITY, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A program's capabilities, good in the user namespace whose root is this user of the host.
fn for_namespace(value: &[u8], root: u32) -> Vec<u8> {
    let mut new = value.to_vec();
    let Some(version) = value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) else { return new };
    if version & 0xff00_0000 == SECOND && value.len() == SECOND_LENGTH {
        new[..4].copy_from_slice(&(version & 0x00ff_ffff | THIRD).to_le_bytes());
        new.extend(root.to_le_bytes());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shifted_once() {
        let mapping = IdMapping::contiguous(100_000, 65_536);
        assert_eq!(new_id(0, &mapping), Some(100_000));
        assert_eq!(new_id(1000, &mapping), Some(101_000));
        assert_eq!(new_id(100_000, &mapping), None);
        assert_eq!(new_id(165_535, &mapping), None);
        assert_eq!(new_id(70_000, &mapping), None, "the container has no such user");
    }

    #[test]
    fn any_depth_is_walked_without_much_stack() {
        use std::os::unix::fs::MetadataExt;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let root = open_directory(
            CWD,
            CString::new(directory.path().as_os_str().as_encoded_bytes()).unwrap().as_c_str(),
        );
        let root = root.unwrap();
        let mut deep = open_directory(root.as_fd(), c".").unwrap();
        for _ in 0..1200 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&deep, "e", Mode::RWXU).unwrap();
            deep = open_directory(deep.as_fd(), c"d").unwrap();
        }
        let mapping = IdMapping::contiguous(100_000, 65_536);
        let walk = move || shift_tree(&root, &mapping);
        std::thread::Builder::new().stack_size(128 << 10).spawn(walk).unwrap().join().unwrap().unwrap();
        assert_eq!(rustix::fs::fstat(&deep).unwrap().st_uid, 100_000);
        assert_eq!(std::fs::metadata(directory.path().join("d/d/e")).unwrap().uid(), 100_000);
        // The standard library's way to delete recurses.
        std::process::Command::new("rm").arg("-rf").arg(directory.path().join("d")).status().unwrap();
    }

    #[test]
    fn capabilities_get_the_root_of_the_namespace() {
        let mut second = SECOND.to_le_bytes().to_vec();
        second[0] = 1;
        second.extend([7; 16]);
        let third = for_namespace(&second, 100_000);
        assert_eq!(third.len(), 24);
        assert_eq!(third[..4], (THIRD | 1).to_le_bytes());
        assert_eq!(third[4..20], [7; 16]);
        assert_eq!(third[20..], 100_000_u32.to_le_bytes());
        assert_eq!(for_namespace(&third, 5), third);
        assert_eq!(for_namespace(&[], 5), [0_u8; 0]);
    }
}
