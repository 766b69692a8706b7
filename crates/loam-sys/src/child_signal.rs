//! The signal that says that a child has ended, as a descriptor to poll.
//!
//! While it is blocked, it waits to be read from a [`ChildSignal`]; while it is let through, its default action
//! discards it, so that it interrupts no system call and children start with nothing blocked.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `SIGCHLD` as a descriptor, blocked for the calling thread.
#[derive(Debug)]
pub struct ChildSignal(OwnedFd);

impl ChildSignal {
    /// Blocks `SIGCHLD` in the calling thread and opens a descriptor (close-on-exec, non-blocking) that becomes
    /// readable when one waits.
    pub fn new() -> io::Result<Self> {
        let set = only_child_signal();
        mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: `set` is an initialised signal set, and -1 asks for a new descriptor.
        let raw = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd has just given us this descriptor, nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Takes note of all signals that wait.
    pub fn clear(&self) {
        let mut buffer = [0_u8; 4 * size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|length| length == buffer.len()) {}
    }

    /// Runs `work` with the signal let through. Whoever calls looks for ended children afterwards.
    pub fn let_through<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let set = only_child_signal();
        mask(libc::SIG_UNBLOCK, &set)?;
        let result = work();
        mask(libc::SIG_BLOCK, &set)?;
        Ok(result)
    }
}

impl AsFd for ChildSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for ChildSignal {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

fn only_child_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised on the line before.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: `set` is initialised and `SIGCHLD` is a valid signal number.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    set
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is an initialised signal set, and the old mask is not asked for.
    let error = unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_makes_the_descriptor_readable() {
        let signal = ChildSignal::new().unwrap();
        // To this thread alone: the others of the test program would discard a real one.
        // SAFETY: pthread_self gives the calling thread, which is alive.
        let thread = unsafe { libc::pthread_self() };
        // SAFETY: the thread is alive, and the signal's default action does nothing.
        assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGCHLD) }, 0);
        let mut poll = [rustix::event::PollFd::new(&signal, rustix::event::PollFlags::IN)];
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut poll, Some(&at_once)).unwrap(), 1);
        signal.clear();
        let mut poll = [rustix::event::PollFd::new(&signal, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut poll, Some(&at_once)).unwrap(), 0);
    }
}
