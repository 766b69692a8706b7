//! Making processes with clone3(2): a fork, straight into new namespaces.

use std::io;
use std::mem::size_of;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the new process shall not share with this one (clone(2), `CLONE_…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// A mount namespace of its own.
    pub const NEW_MOUNT: Self = Self(0x0002_0000);
    /// A host name of its own.
    pub const NEW_UTS: Self = Self(0x0400_0000);
    /// System V IPC objects and message queues of its own.
    pub const NEW_IPC: Self = Self(0x0800_0000);
    /// A user namespace of its own, in which it has every capability.
    pub const NEW_USER: Self = Self(0x1000_0000);
    /// A process id namespace of its own, in which it is process 1.
    pub const NEW_PID: Self = Self(0x2000_0000);
    /// A network namespace of its own.
    pub const NEW_NETWORK: Self = Self(0x4000_0000);
    /// The new process becomes a child of this process's parent.
    pub const SIBLING: Self = Self(0x8000);

    /// No flag: a plain fork.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for CloneFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for CloneFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A process that [`spawn`] made.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id, as this process sees it.
    pub pid: i32,
    /// A descriptor that names it for good.
    pub pidfd: OwnedFd,
}

/// `struct clone_args` of clone3(2), version 2 (Linux 5.7).
#[repr(C)]
#[derive(Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks: the new process runs `child` and ends with the code that it returns; it never comes back from here. With
/// `cgroup`, a directory of the unified hierarchy, it starts in there.
///
/// Refused in a process with more than one thread: the other threads' locks, the allocator's first of all, would stay
/// held for ever in the new process.
pub fn spawn(
    flags: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> io::Result<Spawned> {
    if !is_single_threaded() {
        return Err(io::Error::other("a process with several threads can't be forked"));
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: flags.0 | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        ..CloneArgs::default()
    };
    if !flags.contains(CloneFlags::SIBLING) {
        args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` is a valid `clone_args` of the size given and `pidfd` outlives the call. Neither CLONE_VM nor a
    // stack is asked for, so the child gets a copy of this memory and goes on from here, as after fork(2); there is
    // no other thread whose state could be missing in it.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match result {
        0 => crate::execute::leave(child()),
        pid if pid > 0 => {
            // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Spawned { pid: i32::try_from(pid).map_err(io::Error::other)?, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process has one thread, as far as `/proc` tells: its `task` directory has two links and one for each.
fn is_single_threaded() -> bool {
    rustix::fs::stat("/proc/self/task").map_or(true, |stat| stat.st_nlink <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threaded_process_is_not_forked() {
        std::thread::scope(|scope| {
            let (hold, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || wait.recv().ok());
            let result = spawn(CloneFlags::empty(), None, || 0);
            drop(hold);
            assert!(result.is_err());
        });
    }
}
