//! What becomes of children that have ended, as whoever started this process left it.
//!
//! A process that ignores `SIGCHLD` has no children to wait for: they vanish when they end, and wait(2) says `ECHILD` (signal(7),
//! wait(2), "NOTES"). That a signal is ignored is handed on through execve(2), so that a supervisor which ignores this one starts
//! programs that never hear how their helpers ended.

use std::io;
use std::mem::MaybeUninit;

/// Sees to it that ended children can be waited for, whatever this process was started with. To be called before any other
/// thread or child is started.
pub fn keep_ended_children() -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is to a whole `sigaction`, which the call only writes.
    if unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has filled it in, and zeros are a valid value of every field that it left.
    let mut action = unsafe { action.assume_init() };
    if action.sa_sigaction != libc::SIG_IGN {
        return Ok(());
    }
    (action.sa_sigaction, action.sa_flags) = (libc::SIG_DFL, 0);
    // SAFETY: `action` is initialised, asks for the default action, and the old one is not asked for.
    if unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
