//! Asking for a feature: whether the kernel, or a sandbox around this process, answers its system calls.
//!
//! A seccomp filter refuses a call before the kernel looks at what it is asked, usually with ENOSYS or EPERM. So a call that
//! changes something is asked for what cannot be, and any other error means that the kernel itself has answered. EPERM is
//! also what the kernel says to those who may not mount, before it looks further: to them nothing of it is of use.

use std::io;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::Feature;

/// Flags that no system call has.
const NO_SUCH_FLAGS: libc::c_uint = libc::c_uint::MAX;
const NO_FILE: libc::c_int = -1;

/// Whether all the mount calls of [`Feature::MountApi`] are answered to this process, looked at once. Some of them are of
/// no use: what is opened with one is mounted with another.
pub fn has_mount_api() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    !Feature::MountApi.is_off() && *ANSWER.get_or_init(answers_mount_calls)
}

fn answers_mount_calls() -> bool {
    // Without a clone it is no more than opening a directory.
    let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let nothing = std::ptr::null::<u8>();
    rustix::mount::open_tree(CWD, "/", flags).is_ok()
        // SAFETY: flags that do not exist are refused; the name is a text that ends with zero.
        && is_answered(unsafe { libc::syscall(libc::SYS_fsopen, c"".as_ptr(), NO_SUCH_FLAGS) })
        // SAFETY: there is no such file; nothing that a null pointer stands for is read.
        && is_answered(unsafe { libc::syscall(libc::SYS_fsconfig, NO_FILE, NO_SUCH_FLAGS, nothing, nothing, 0) })
        // SAFETY: takes integers; flags that do not exist are refused.
        && is_answered(unsafe { libc::syscall(libc::SYS_fsmount, NO_FILE, NO_SUCH_FLAGS, 0) })
        // SAFETY: flags that do not exist are refused; the paths are texts that end with zero.
        && is_answered(unsafe {
            let empty = c"".as_ptr();
            libc::syscall(libc::SYS_move_mount, NO_FILE, empty, NO_FILE, empty, NO_SUCH_FLAGS)
        })
        // SAFETY: flags that do not exist are refused; a structure of no bytes is not read.
        && is_answered(unsafe {
            libc::syscall(libc::SYS_mount_setattr, NO_FILE, c"".as_ptr(), NO_SUCH_FLAGS, nothing, 0)
        })
}

/// Whether openat2(2) may be used.
#[expect(clippy::disallowed_methods, reason = "it is the call itself that is asked for")]
pub fn has_openat2() -> bool {
    let (flags, how) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::empty());
    !Feature::Openat2.is_off() && rustix::fs::openat2(CWD, "/", flags, Mode::empty(), how).is_ok()
}

/// Whether processes can be opened.
pub fn has_pidfd() -> bool {
    crate::open_process(rustix::process::getpid()).is_ok()
}

/// Whether clone3(2) may be used.
pub fn has_clone3() -> bool {
    // SAFETY: arguments of no bytes are refused before they are read.
    let asked = || unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0) };
    !Feature::Clone3.is_off() && is_answered(asked())
}

/// Whether it is the kernel that has answered a call.
fn is_answered(result: libc::c_long) -> bool {
    let error = io::Error::last_os_error().raw_os_error();
    result >= 0 || !matches!(error, Some(libc::ENOSYS | libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refuse_calls;

    /// What a probe says in a sandbox that refuses one call. The sandbox is this test's thread alone.
    fn with_refusal(call: libc::c_long, errno: i32, probe: fn() -> bool) -> bool {
        let asked = std::thread::spawn(move || {
            refuse_calls(&[call], errno).unwrap();
            probe()
        });
        asked.join().unwrap()
    }

    #[test]
    fn whatever_call_a_sandbox_refuses_is_found_out() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: whatever_call_a_sandbox_refuses_is_found_out: needs root");
            return;
        }
        let mount_calls = [
            libc::SYS_open_tree,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
        ];
        for errno in [libc::EPERM, libc::ENOSYS] {
            for call in mount_calls {
                assert!(!with_refusal(call, errno, answers_mount_calls), "call {call}, error {errno}");
            }
            assert!(!with_refusal(libc::SYS_openat2, errno, has_openat2));
            assert!(!with_refusal(libc::SYS_pidfd_open, errno, has_pidfd));
            assert!(!with_refusal(libc::SYS_clone3, errno, has_clone3));
            // What is refused is something else.
            assert!(with_refusal(libc::SYS_fspick, errno, answers_mount_calls));
            assert!(with_refusal(libc::SYS_fspick, errno, || has_openat2() && has_pidfd() && has_clone3()));
        }
    }
}
