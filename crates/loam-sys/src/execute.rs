//! The last things a process does before it becomes another program, or ends.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::ptr;

/// Ends this process at once, without running what a normal exit runs: for processes that were forked and must not
/// flush or unwind what belongs to their parent.
pub fn leave(code: i32) -> ! {
    // SAFETY: _exit takes any value, and does not return.
    unsafe { libc::_exit(code) }
}

/// Replaces this program (execve(2)). Returns only when that failed.
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: the path is a C string; both arrays end with a null pointer, and their strings live until the call
    // returns or the program is gone.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Gives every signal its default action and unblocks all, as a new program expects. Rust ignores SIGPIPE, and whoever
/// started this process may have ignored others.
pub fn reset_signals() {
    // The kernel's `struct sigaction`, of which the library's differs: all zeros are the default action, on every
    // machine. The library would refuse the two signals that it keeps for itself.
    let default = [0_u64; 4];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: `default` is at least as long as the structure and only read; the default action runs none of our
        // code. SIGKILL and SIGSTOP are refused, which changes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    set_signal_mask(0);
}

/// Has the calling thread block these signals, a bit each, and no others.
pub(crate) fn set_signal_mask(set: u64) {
    // SAFETY: the kernel's signal set is 64 bits, which are only read; the old one is not asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
}

/// The kernel's highest signal number, on every machine but MIPS.
const LAST_SIGNAL: i32 = 64;
