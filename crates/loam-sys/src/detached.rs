//! A message to the kernel that takes the kernel long, sent by a process that nobody waits for.
//!
//! A netlink request is carried out within the call that sends it. One that waits for the kernel's grace periods would
//! hold its caller up, and a thread of the caller would hold up the caller's end.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::clone::CloneArgs;
use crate::execute::leave;

/// Handlers of signals are not inherited (clone(2)): nothing of this program runs in the new process.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Sends a message on a socket from a process that is no child of this one, keeps none of its other descriptors, and is
/// in a session of its own, so that neither the end of this process nor a key at its terminal ends it. Returns as soon as
/// that process exists; what becomes of the message is not told.
///
/// A process with several threads may do this: what runs between fork and end are system calls alone.
pub fn send_detached(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    // Without a signal at its end it is nobody's but ours to wait for, whatever else waits for children here.
    let first = fork(0)?;
    if first == 0 {
        leave(i32::from(hand_over(socket.as_raw_fd(), message).is_err()));
    }
    match wait(first)? {
        0 => Ok(()),
        _ => Err(io::Error::other("a process of its own can't be made")),
    }
}

/// In the first process: gets rid of everything that is the caller's, and makes the second, which is orphaned at once.
fn hand_over(socket: RawFd, message: &[u8]) -> io::Result<()> {
    let number = socket.unsigned_abs();
    if number > 0 {
        close_range(0, number - 1)?;
    }
    close_range(number + 1, u32::MAX)?;
    rustix::process::chdir(c"/")?;
    rustix::process::setsid()?;
    let signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if fork(signal)? == 0 {
        // SAFETY: the message is that many bytes, which are only read.
        let sent = unsafe { libc::send(socket, message.as_ptr().cast(), message.len(), 0) };
        leave(i32::from(sent < 0));
    }
    Ok(())
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: only descriptors of this process are closed, in which nothing owns them: it makes system calls and ends.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Forks; 0 in the new process, which must make nothing but system calls.
fn fork(exit_signal: u64) -> io::Result<i64> {
    let mut args = CloneArgs { flags: CLONE_CLEAR_SIGHAND, exit_signal, ..CloneArgs::default() };
    // SAFETY: `args` is a valid `clone_args` of the size given. Neither CLONE_VM nor a stack is asked for, so the new
    // process goes on from here with a copy of this memory. Other threads are missing in it, and what they had locked
    // stays locked: all that runs there are system calls, up to `_exit`, without allocating and without locks.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) } {
        pid if pid >= 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits for a child that sends no signal when it ends; gives its exit code.
fn wait(child: i64) -> io::Result<i32> {
    let child = i32::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    loop {
        // SAFETY: the status is written to a variable that outlives the call.
        if unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) } == child {
            return Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_message_arrives_and_nothing_else_is_kept_open() {
        let (sender, mut receiver) = UnixStream::pair().expect("a pair");
        let (mut other, held) = UnixStream::pair().expect("a pair");
        // Threads of the test runner are there, and this one too.
        std::thread::scope(|scope| {
            scope
                .spawn(|| send_detached(sender.as_fd(), b"gone"))
                .join()
                .expect("it ran")
                .expect("it was sent");
        });
        drop(sender);
        drop(held);
        let mut heard = Vec::new();
        receiver.read_to_end(&mut heard).expect("it arrives, and the sender ends");
        assert_eq!(heard, b"gone");
        assert_eq!(other.read(&mut [0]).expect("it is closed"), 0, "the other process does not hold it");
        // SAFETY: the status is not asked for. Children of other tests send a signal at their end: they are not meant.
        let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WCLONE | libc::WNOHANG) };
        assert_eq!(left, -1, "no child is left");
    }
}
