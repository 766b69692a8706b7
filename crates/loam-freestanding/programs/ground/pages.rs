//! Memory from the kernel, for what is too large for the stack.

use core::ops::{Deref, DerefMut};
use core::slice;

use super::call::raw;
use super::{Result, number};

/// Some pages of zeros, given back when dropped.
pub struct Pages {
    start: *mut u8,
    length: usize,
}

impl Pages {
    /// Asks for pages that hold `length` bytes.
    pub fn new(length: usize) -> Result<Pages> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
        let arguments = [0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0];
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that exists.
        let start = unsafe { raw(number::MMAP, arguments) }?;
        Ok(Pages { start: start as *mut u8, length })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable for its length, filled with zeros at first, and ours alone.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is writable for its length and ours alone.
        unsafe { slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        let _ = unsafe { raw(number::MUNMAP, [self.start as usize, self.length, 0, 0, 0, 0]) };
    }
}
