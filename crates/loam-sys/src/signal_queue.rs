//! Signals as a queue to read from, in place of handlers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Signals that are blocked for the calling thread, and for threads that it makes afterwards, and wait here instead.
#[derive(Debug)]
pub struct SignalQueue(OwnedFd);

impl SignalQueue {
    /// Blocks these signals in the calling thread and opens a descriptor (close-on-exec, non-blocking) that becomes
    /// readable when one waits. They stay blocked when the queue is dropped.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set that it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: the set was initialised on the line before.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: `set` is initialised; a number that is no signal is refused.
            if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: `set` is an initialised signal set, and the old mask is not asked for.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: `set` is an initialised signal set, and -1 asks for a new descriptor.
        let raw = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd has just given us this descriptor, nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Takes the next signal; `None` when none waits.
    pub fn next(&self) -> io::Result<Option<i32>> {
        // `struct signalfd_siginfo` begins with the number (signalfd(2)).
        let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(length) if length == buffer.len() => {
                let number = [buffer[0], buffer[1], buffer[2], buffer[3]];
                Ok(Some(i32::from_ne_bytes(number)))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for SignalQueue {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_waits_in_the_queue() {
        // A thread of its own, whose mask nothing else sees.
        std::thread::spawn(|| {
            let queue = SignalQueue::block(&[libc::SIGUSR2]).unwrap();
            assert_eq!(queue.next().unwrap(), None);
            // SAFETY: pthread_self gives the calling thread, which is alive.
            let thread = unsafe { libc::pthread_self() };
            // SAFETY: the thread is alive and has the signal blocked.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR2) }, 0);
            assert_eq!(queue.next().unwrap(), Some(libc::SIGUSR2));
            assert_eq!(queue.next().unwrap(), None);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        assert!(SignalQueue::block(&[999]).is_err());
    }
}
