//! A message to the kernel that takes the kernel long, sent by a process that nobody waits for.
//!
//! A netlink request is carried out within the call that sends it. One that waits for the kernel's grace periods would
//! hold its caller up, and a thread of the caller would hold up the caller's end.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::clone::{CLONE_CLEAR_SIGHAND, CloneArgs, clone};
use crate::descriptors::close_range;
use crate::execute::leave;

/// How many nanoseconds the message waits for its caller to go on.
const PAUSE: i64 = 2_000_000;

/// Sends a message on a socket from a process of its own, which keeps none of the other descriptors, and is in a session of
/// its own, so that neither the end of this process nor a key at its terminal ends it. Returns as soon as that process has
/// let go of the other descriptors, so that whoever reads from our pipes or waits for our locks is not held up; what becomes
/// of the message is not told.
///
/// The process gives no signal when it ends, and those who wait for any child don't see it. The next call takes away what
/// is left of it in the kernel's table, or the end of this process does.
///
/// A process with several threads may do this: what runs between fork and end are system calls alone.
pub fn send_detached(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    reap_detached();
    let (ended, alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    if fork()? == 0 {
        leave_all_but([socket.as_raw_fd().unsigned_abs(), alive.as_raw_fd().unsigned_abs()]);
        let last = alive.as_raw_fd().unsigned_abs();
        close_range(last, last).ok();
        // The caller goes first, which waits for this processor where there is no other.
        let pause = libc::timespec { tv_sec: 0, tv_nsec: PAUSE };
        // SAFETY: the length is only read, and what may be left of it is not asked for.
        unsafe { libc::nanosleep(&raw const pause, std::ptr::null_mut()) };
        // SAFETY: the message is that many bytes, which are only read.
        let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
        leave(i32::from(sent < 0));
    }
    drop(alive);
    // Nothing is written: this ends when the other process has closed its end, or has ended.
    while rustix::io::read(&ended, &mut [0]) == Err(Errno::INTR) {}
    Ok(())
}

/// Takes away what is left of processes of [`send_detached`] that have ended.
pub fn reap_detached() {
    // SAFETY: the status is not asked for. `__WCLONE` means children that give another signal than SIGCHLD, or none, when
    // they end: only those that are made here.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WCLONE | libc::WNOHANG) } > 0 {}
}

/// Gets rid of everything that is the caller's but two descriptors. What can't be done changes nothing in what follows.
fn leave_all_but(descriptors: [u32; 2]) {
    let [low, high] =
        if descriptors[0] < descriptors[1] { descriptors } else { [descriptors[1], descriptors[0]] };
    for (first, end) in [(0, low), (low + 1, high)] {
        if first < end {
            close_range(first, end - 1).ok();
        }
    }
    close_range(high + 1, u32::MAX).ok();
    let _elsewhere = rustix::process::chdir(c"/").is_ok();
    let _its_own = rustix::process::setsid().is_ok();
    unmap_shared();
}

/// Lets go of files that are mapped to be shared, as databases do it, so that their file system can be unmounted.
fn unmap_shared() {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(maps) = rustix::fs::open(c"/proc/self/maps", flags, Mode::empty()) else { return };
    let (mut line, mut bytes) = (MapsLine::default(), [0; 1024]);
    while let Ok(count @ 1..) = rustix::io::read(&maps, &mut bytes) {
        for byte in &bytes[..count] {
            if let Some((start, end)) = line.read(*byte) {
                // SAFETY: no mapping that is shared is the stack, the program or its libraries, and no other memory is
                // used by what runs here.
                unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(start), end - start) };
            }
        }
    }
}

/// What has been read of a line of `/proc/PID/maps` (proc(5)): `START-END rwxs …`, in hexadecimal.
#[derive(Default)]
struct MapsLine {
    ends: [usize; 2],
    /// Which part is being read: the start, the end, the permissions and how many of them, the rest.
    part: usize,
}

impl MapsLine {
    /// Takes a byte; gives a mapping when it is known to be shared.
    fn read(&mut self, byte: u8) -> Option<(usize, usize)> {
        match (self.part, byte) {
            (_, b'\n') => *self = Self::default(),
            (0, b'-') | (1, b' ') | (2..=4, _) => self.part += 1,
            (0 | 1, digit) => {
                let digit = char::from(digit).to_digit(16)? as usize;
                self.ends[self.part] = self.ends[self.part] << 4 | digit;
            }
            (5, b's') => {
                self.part += 1;
                return Some((self.ends[0], self.ends[1]));
            }
            _ => self.part = 6,
        }
        None
    }
}

/// Forks; 0 in the new process, which must make nothing but system calls.
fn fork() -> io::Result<i64> {
    let mut args = CloneArgs { flags: CLONE_CLEAR_SIGHAND, ..CloneArgs::default() };
    // SAFETY: the arguments point to nothing. Other threads are missing in the new process, and what they had locked stays
    // locked: all that runs there are system calls, up to `_exit`, without allocating and without locks.
    unsafe { clone(&mut args) }
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
        // At once, not only when the other process has ended.
        drop(held);
        other.set_nonblocking(true).expect("settable");
        assert_eq!(other.read(&mut [0]).expect("it is closed"), 0, "the other process does not hold it");
        drop(sender);
        let mut heard = Vec::new();
        receiver.read_to_end(&mut heard).expect("it arrives, and the sender ends");
        assert_eq!(heard, b"gone");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while waited() != Some(rustix::io::Errno::CHILD) {
            assert!(std::time::Instant::now() < deadline, "a process is left");
            reap_detached();
        }
    }

    #[test]
    fn mappings_that_are_shared_are_found() {
        let text = "55d0c0ffee00-55d0c0fff000 r--p 00000000 fe:00 12 /usr/bin/ss\n\
            7f00deadb000-7f00deade000 rw-s 00000000 00:2a 7 /root/loam.db-shm\n7ffc-7ffd rw-p 00000000 00:00 0 [stack]\n";
        let mut line = MapsLine::default();
        let found: Vec<_> = text.bytes().filter_map(|byte| line.read(byte)).collect();
        assert_eq!(found, [(0x7f00_dead_b000, 0x7f00_dead_e000)]);
    }

    /// The error of waiting for a child that gives no signal when it ends.
    fn waited() -> Option<rustix::io::Errno> {
        // SAFETY: the status is not asked for. Children of other tests give a signal: they are not meant.
        let found = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WCLONE | libc::WNOHANG) };
        (found < 0).then(|| rustix::io::Errno::from_io_error(&io::Error::last_os_error())).flatten()
    }
}
