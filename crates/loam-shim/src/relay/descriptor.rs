//! Descriptors from elsewhere, made safe to use without waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use loam_sys::magic_link;

/// A descriptor whose reads and writes never wait (but for a disk).
#[derive(Debug)]
pub(crate) struct Pollable(OwnedFd);

impl Pollable {
    /// Takes a descriptor that others may share. `O_NONBLOCK` belongs to the open file and would surprise them, so
    /// what can be opened anew is.
    pub(crate) fn shared(descriptor: OwnedFd, access: OFlags) -> Result<Self, Errno> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode);
        match kind {
            FileType::Fifo | FileType::CharacterDevice => {
                let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                match rustix::fs::open(magic_link(&descriptor), flags, Mode::empty()) {
                    Ok(own) => Ok(Self(own)),
                    // The reader is gone, and so is the client.
                    Err(Errno::NXIO) => Err(Errno::PIPE),
                    Err(_) => Self::own(descriptor),
                }
            }
            FileType::RegularFile => Ok(Self(descriptor)),
            _ => Self::own(descriptor),
        }
    }

    /// Takes a descriptor that nobody shares.
    pub(crate) fn own(descriptor: OwnedFd) -> Result<Self, Errno> {
        let flags = rustix::fs::fcntl_getfl(&descriptor)?;
        rustix::fs::fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK)?;
        Ok(Self(descriptor))
    }

    /// Reads what is there; `None` when nothing is yet.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Writes what is taken, and says how much that was.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(&self.0, &bytes[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(written)
    }
}

impl AsFd for Pollable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
