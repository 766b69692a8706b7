//! What a layer needs from the layers below it, once all of them are unpacked.
//!
//! A layer's archive may name `a/b/c` without naming `a/b`; on a stack of layers that leaves `a/b` as it was, so the
//! directory that had to be made here gets the attributes of the one below. And a hard link may point to a file that
//! only a lower layer has; then the file is copied up. As a layer is shared by all images that have it, what lay
//! below it when it was first pulled decides; images that share a layer nearly always share what is below it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timestamps};
use rustix::io::Errno;

use crate::unpack::{Budget, DanglingLink, UnpackError, Unpacked, copy_attributes, parent_and_name};

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Finishes a layer. `below` are the layers beneath it, the topmost first; what is copied from them is taken from the
/// budget.
pub fn settle(
    layer: &OwnedFd,
    unpacked: &Unpacked,
    below: &[OwnedFd],
    budget: &Budget,
) -> Result<(), UnpackError> {
    // The first link to each target.
    let mut first: HashMap<&[u8], &[u8]> = HashMap::new();
    for link in &unpacked.dangling {
        match first.entry(&link.target) {
            // Further links to one file are links to its first copy, so that they stay one file.
            Entry::Occupied(twin) => {
                let again = DanglingLink { path: link.path.clone(), target: twin.get().to_vec() };
                copy_up(layer, &again, &[], budget)?;
            }
            Entry::Vacant(new) => {
                new.insert(&link.path);
                copy_up(layer, link, below, budget)?;
            }
        }
    }
    for path in &unpacked.implicit {
        inherit(layer, path, below)
            .map_err(|error| UnpackError::system(path, "given its attributes", error))?;
    }
    Ok(())
}

/// Gives a directory the attributes of the one that it covers.
fn inherit(layer: &OwnedFd, path: &[u8], below: &[OwnedFd]) -> io::Result<()> {
    let path = if path.is_empty() { &b"."[..] } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for lower in below {
        match loam_sys::openat2(lower, path, flags, Mode::empty(), BENEATH) {
            Ok(covered) => {
                let directory = match loam_sys::openat2(layer, path, flags, Mode::empty(), BENEATH) {
                    Ok(directory) => directory,
                    // It was made behind a link within the layer.
                    Err(Errno::LOOP) => return Ok(()),
                    Err(error) => return Err(error.into()),
                };
                return copy_attributes(covered.as_fd(), directory.as_fd());
            }
            Err(Errno::NOENT) => {}
            // Something else, or a whiteout, hides whatever lies deeper.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes a hard link whose target this layer lacks, by copying the target.
fn copy_up(
    layer: &OwnedFd,
    link: &DanglingLink,
    below: &[OwnedFd],
    budget: &Budget,
) -> Result<(), UnpackError> {
    let system = |error: io::Error| UnpackError::system(&link.path, "linked", error);
    let (parent, name) = parent_and_name(&link.path);
    let directory = match open_parent(layer, parent) {
        Ok(directory) => directory,
        // A later entry of the same layer has taken the place of a directory on the way.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(system(error.into())),
    };
    if rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        // A later entry of the same layer has taken the name.
        return Ok(());
    }
    let times = rustix::fs::fstat(&directory).map_err(|error| system(error.into()))?;
    let (above, last) = parent_and_name(&link.target);
    for source in std::iter::once(layer).chain(below) {
        let Ok(above) = open_parent(source, above) else { continue };
        match rustix::fs::statat(&above, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(_) => continue,
            Ok(stat) => {
                let file = FileType::from_raw_mode(stat.st_mode);
                let same_layer = std::ptr::eq(source, layer);
                let whiteout = file == FileType::CharacterDevice && stat.st_rdev == 0;
                if same_layer && whiteout {
                    continue;
                }
                if same_layer {
                    rustix::fs::linkat(&above, last, &directory, name, AtFlags::empty())
                        .map_err(|error| system(error.into()))?;
                } else if file == FileType::RegularFile {
                    // With holes and all: many links may be to one file, which is then copied as often.
                    let size = u64::try_from(stat.st_size).unwrap_or(0);
                    let _charge = budget.take_copy(size)?;
                    copy_file(above.as_fd(), last, directory.as_fd(), name).map_err(system)?;
                } else {
                    break;
                }
                return restore_times(&directory, &times).map_err(system);
            }
        }
    }
    let target = loam_model::shown_bytes(&link.target);
    Err(UnpackError::entry(
        &link.path,
        format!("is a hard link to `{target}`, which is no file of the image"),
    ))
}

fn open_parent(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { &b"."[..] } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loam_sys::openat2(root, path, flags, Mode::empty(), BENEATH)
}

fn copy_file(from: BorrowedFd<'_>, source: &[u8], to: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let input = rustix::fs::openat(from, source, read, Mode::empty())?;
    let output = rustix::fs::openat(to, name, write, Mode::RUSR | Mode::WUSR)?;
    let (mut input, mut output) = (std::fs::File::from(input), std::fs::File::from(output));
    io::copy(&mut input, &mut output)?;
    copy_attributes(input.as_fd(), output.as_fd())
}

fn restore_times(directory: &OwnedFd, stat: &rustix::fs::Stat) -> io::Result<()> {
    let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    let times = Timestamps {
        last_access: time(stat.st_atime, nanoseconds(stat.st_atime_nsec)),
        last_modification: time(stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
    };
    Ok(rustix::fs::futimens(directory, &times)?)
}
