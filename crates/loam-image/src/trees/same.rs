//! Whether what two trees have under one name is the same.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use loam_model::Result;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes;
use super::stack::{Entry, Listing, Place, Stack, unreadable};
use crate::error::failed;

/// How much of a file is read at a time.
const PIECE: usize = 64 << 10;

/// One of two trees, and what it has under the name.
pub(super) struct Side<'a> {
    pub(super) stack: &'a Stack,
    pub(super) listing: &'a Listing,
    pub(super) entry: &'a Entry,
    /// The directory that it is, when it is one.
    pub(super) place: Option<&'a Place>,
}

impl Side<'_> {
    /// Opens a file for reading, or a directory in the topmost of its layers.
    fn open(&self) -> std::result::Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(self.listing.directory_of(self.entry), &*self.entry.name, flags, Mode::empty())
    }

    fn target(&self) -> std::result::Result<Vec<u8>, Errno> {
        let directory = self.listing.directory_of(self.entry);
        Ok(rustix::fs::readlinkat(directory, &*self.entry.name, Vec::new())?.into_bytes())
    }
}

/// Compares two entries, a directory without what is in it.
pub(super) fn is_same(path: &[u8], before: &Side<'_>, after: &Side<'_>) -> Result<bool> {
    if before.stack.is_same_file(before.entry, after.stack, after.entry) {
        return Ok(true);
    }
    let is_directory = before.place.is_some();
    if !have_same_attributes(&before.entry.status, &after.entry.status, is_directory) {
        return Ok(false);
    }
    match compare(before, after) {
        Ok(same) => same.map_err(|error| failed(unreadable_text(path), error)),
        // A container has removed it meanwhile.
        Err(Errno::NOENT | Errno::LOOP) => Ok(false),
        Err(errno) => Err(unreadable(path, errno)),
    }
}

fn unreadable_text(path: &[u8]) -> String {
    format!("`/{}` can't be read", loam_model::shown_bytes(path))
}

fn have_same_attributes(one: &Stat, other: &Stat, is_directory: bool) -> bool {
    let owner = |status: &Stat| (status.st_mode, status.st_uid, status.st_gid, status.st_rdev);
    let content = |status: &Stat| (status.st_size, status.st_mtime, status.st_mtime_nsec);
    owner(one) == owner(other) && (is_directory || content(one) == content(other))
}

/// Compares what a status does not tell: extended attributes, contents, where a link leads.
fn compare(before: &Side<'_>, after: &Side<'_>) -> std::result::Result<io::Result<bool>, Errno> {
    match before.entry.kind() {
        FileType::Symlink => Ok(Ok(before.target()? == after.target()?)),
        FileType::RegularFile | FileType::Directory => {
            let (one, other) = (before.open()?, after.open()?);
            if attributes::read(&one)? != attributes::read(&other)? {
                return Ok(Ok(false));
            }
            if before.place.is_some() {
                return Ok(Ok(true));
            }
            Ok(have_same_contents(File::from(one), File::from(other)))
        }
        _ => Ok(Ok(true)),
    }
}

fn have_same_contents(mut one: File, mut other: File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let count = fill(&mut one, &mut left)?;
        if fill(&mut other, &mut right)? != count || left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
