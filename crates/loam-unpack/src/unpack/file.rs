//! Regular files of a layer.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::budget::Charge;
use super::{Attributes, UnpackError, Unpacking};
use crate::archive::{Archive, Entry};
use crate::blocks::Blocks;

impl Unpacking<'_> {
    pub(super) fn file<B: Blocks>(
        &mut self,
        archive: &mut Archive<B>,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        (entry, mut charge): (&Entry, Charge<'_>),
    ) -> Result<(), UnpackError> {
        let attributes = Attributes::of_entry(entry)?;
        let made_with = attributes.mode & 0o777;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.make(parent, name, path, || {
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(made_with))
        })?;
        archive.begin_file(path, entry);
        write_data(archive, &fd, path, (entry, &mut charge))?;
        attributes
            .apply(fd.as_fd(), Some(made_with))
            .map_err(|error| UnpackError::system(path, "given its attributes", error))?;
        self.done.size += entry.size;
        Ok(())
    }
}

/// Writes a file's data where it belongs.
fn write_data<B: Blocks>(
    archive: &mut Archive<B>,
    fd: &OwnedFd,
    path: &[u8],
    (entry, charge): (&Entry, &mut Charge<'_>),
) -> Result<(), UnpackError> {
    let system = |error: Errno| UnpackError::system(path, "written", error);
    let Some((segments, length)) = &entry.sparse else {
        loop {
            let data = archive.data()?;
            if data.is_empty() {
                return Ok(());
            }
            write_all(fd, data).map_err(system)?;
            charge.spent(data.len());
        }
    };
    rustix::fs::ftruncate(fd, *length).map_err(system)?;
    for segment in segments {
        rustix::fs::seek(fd, SeekFrom::Start(segment.offset)).map_err(system)?;
        let mut left = segment.length;
        while left > 0 {
            let data = archive.data_up_to(left)?;
            write_all(fd, data).map_err(system)?;
            charge.spent(data.len());
            left -= data.len() as u64;
        }
    }
    Ok(())
}

fn write_all(fd: &OwnedFd, mut data: &[u8]) -> rustix::io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(count) => data = &data[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
