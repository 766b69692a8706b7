//! Where the kernel enters the program, and what it hands over: arguments and environment.

use core::arch::global_asm;
use core::ffi::{CStr, c_char};

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {enter}",
    "ud2",
    enter = sym enter,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {enter}",
    "brk #1",
    enter = sym enter,
);

/// # Safety
/// `stack` must be the stack pointer as the kernel sets it at execve(2): the number of arguments, their pointers, a
/// null, the environment's pointers, a null.
unsafe extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: the kernel's layout, see above; all of it stays as long as the process lives.
    let (arguments, environment) = unsafe {
        let count = *stack;
        let arguments = stack.add(1).cast::<*const c_char>();
        (Strings(arguments), Strings(arguments.add(count + 1)))
    };
    super::call::exit(crate::main(arguments, environment))
}

/// A list of strings that the kernel put on the stack, ended by a null pointer.
#[derive(Clone, Copy)]
pub struct Strings(*const *const c_char);

impl Strings {
    /// The list without its first `count` strings, of which there must be so many.
    pub fn skip_first(self, count: usize) -> Strings {
        if self.count() < count {
            return self;
        }
        // SAFETY: the list has at least `count` strings, and its end after them.
        Strings(unsafe { self.0.add(count) })
    }

    /// The first of them.
    pub fn first(mut self) -> Option<&'static CStr> {
        self.next()
    }

    /// How many.
    pub fn count(self) -> usize {
        Iterator::count(self)
    }

    /// The list as execve(2) takes it.
    pub fn as_ptr(self) -> *const *const c_char {
        self.0
    }

    /// The value of a variable of the environment.
    pub fn variable(self, name: &[u8]) -> Option<&'static [u8]> {
        { self }.find_map(|entry| entry.to_bytes().strip_prefix(name)?.strip_prefix(b"="))
    }
}

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: the pointer is within the list or at its null (it never moves past that).
        let string = unsafe { *self.0 };
        if string.is_null() {
            return None;
        }
        // SAFETY: there was a string here, so that the list goes on.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: the kernel ends each string with a zero byte, and nothing of ours changes it.
        Some(unsafe { CStr::from_ptr(string) })
    }
}
