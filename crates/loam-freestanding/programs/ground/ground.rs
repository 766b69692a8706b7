//! What the freestanding programs stand on: the entry point, system calls, memory routines and text. All the unsafe
//! code of the programs is here, behind safe functions.
#![allow(dead_code, reason = "each program uses a part")]

pub mod call;
pub mod memory;
pub mod number;
pub mod pages;
pub mod socket;
pub mod start;
pub mod text;

use core::fmt;

/// An error of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub const NOENT: Errno = Errno(2);
    pub const INTR: Errno = Errno(4);
    pub const AGAIN: Errno = Errno(11);
    pub const ACCES: Errno = Errno(13);
    pub const NOTDIR: Errno = Errno(20);
    pub const NAMETOOLONG: Errno = Errno(36);
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            1 => "operation not permitted",
            2 => "no such file or directory",
            7 => "argument list too long",
            8 => "exec format error",
            11 => "resource temporarily unavailable",
            12 => "out of memory",
            13 => "permission denied",
            20 => "not a directory",
            21 => "is a directory",
            26 => "text file busy",
            36 => "file name too long",
            40 => "too many levels of symbolic links",
            97 => "address family not supported",
            98 => "address already in use",
            99 => "address not available",
            number => return write!(formatter, "error {number}"),
        };
        formatter.write_str(text)
    }
}

/// What a call gives.
pub type Result<T> = core::result::Result<T, Errno>;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = call::write(2, b"internal error\n");
    call::exit(125)
}

/// The precompiled `core` names this function in its unwind tables; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
