//! Making processes with clone3(2): a fork, straight into new namespaces. Where that call is refused, clone(2) does the
//! same, but for the cgroup that the process starts in.

use std::io;
use std::mem::size_of;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use crate::features::{self, Feature};

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
/// Handlers of signals are not inherited: nothing of this program runs in the new process.
pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Forks: the new process runs `child` and ends with the code that it returns; it never comes back from here. With
/// `cgroup`, a directory of the unified hierarchy, it starts in there, for which there is no other way where clone3(2) is
/// refused ([`features::has_clone3`]).
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
    // SAFETY: `pidfd` outlives the call, and there is no other thread whose state could be missing in the new process.
    match unsafe { clone(&mut args) }? {
        0 => crate::execute::leave(child()),
        pid => {
            // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Spawned { pid: i32::try_from(pid).map_err(io::Error::other)?, pidfd })
        }
    }
}

/// Makes a process that goes on from here with a copy of this memory, as after fork(2); gives 0 in it.
///
/// # Safety
/// What the arguments point to must be there and theirs to write to; they ask for no shared memory and no stack. If other
/// threads hold locks, or the allocator's, the new process must not use them.
pub(crate) unsafe fn clone(args: &mut CloneArgs) -> io::Result<i64> {
    if !Feature::Clone3.is_off() {
        let args = std::ptr::from_mut(args);
        // SAFETY: `args` is a valid `clone_args` of the size given, and its parts are as the caller promises.
        let result = unsafe { libc::syscall(libc::SYS_clone3, args, size_of::<CloneArgs>()) };
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            _ if result >= 0 => return Ok(result),
            Some(libc::ENOSYS) => {}
            // Of a sandbox, or of who may not make these namespaces.
            Some(libc::EPERM) if is_refused() => {}
            _ => return Err(error),
        }
    }
    // SAFETY: as the caller promises.
    unsafe { clone_by_the_older_call(args) }
}

/// Whether clone3(2) is refused whatever is asked.
fn is_refused() -> bool {
    static REFUSED: OnceLock<bool> = OnceLock::new();
    *REFUSED.get_or_init(|| !features::has_clone3())
}

/// The same by clone(2), which takes the flags of 32 bits, with the signal at the end among them.
///
/// # Safety
/// As for [`clone`].
unsafe fn clone_by_the_older_call(args: &CloneArgs) -> io::Result<i64> {
    if args.flags & CLONE_INTO_CGROUP != 0 {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    let flags = (args.flags & !CLONE_CLEAR_SIGHAND) | args.exit_signal;
    // SAFETY: without CLONE_VM and with a null stack it works as fork(2) does. Where a descriptor of the process is asked
    // for, the third argument says where to; nothing is asked for that the last two are for.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, args.pidfd, 0, 0) };
    match result {
        0 => {
            if args.flags & CLONE_CLEAR_SIGHAND != 0 {
                crate::execute::reset_signals();
            }
            Ok(0)
        }
        pid if pid > 0 => Ok(pid),
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
    /// What a process made by `how` comes to, and how it was seen to end.
    fn make(how: impl FnOnce(&mut CloneArgs) -> io::Result<i64>, flags: u64) -> (i64, Option<i32>) {
        let mut pidfd: libc::c_int = -1;
        let mut args = CloneArgs {
            flags: flags | CLONE_PIDFD,
            pidfd: std::ptr::from_mut(&mut pidfd) as u64,
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            ..CloneArgs::default()
        };
        let pid = how(&mut args).unwrap();
        if pid == 0 {
            crate::execute::leave(7);
        }
        // SAFETY: the kernel has stored a new descriptor there.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd));
        let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap();
        (pid, status.and_then(|status| status.exit_status()))
    }

    #[test]
    fn the_older_call_makes_the_same() {
        // SAFETY: what the arguments point to is there, and the new process ends at once.
        let older = |args: &mut CloneArgs| unsafe { clone_by_the_older_call(args) };
        for flags in [0, CLONE_CLEAR_SIGHAND] {
            let (pid, status) = make(older, flags);
            assert!(pid > 1);
            assert_eq!(status, Some(7));
        }
        let mut into_cgroup = CloneArgs { flags: CLONE_INTO_CGROUP, ..CloneArgs::default() };
        let refused = older(&mut into_cgroup).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOSYS));
    }

    #[test]
    fn a_sandbox_that_refuses_the_newer_call_is_no_hindrance() {
        for errno in [libc::ENOSYS, libc::EPERM] {
            // This test's thread alone is in the sandbox.
            let made = std::thread::spawn(move || {
                crate::refuse_calls(&[libc::SYS_clone3], errno).unwrap();
                // SAFETY: what the arguments point to is there, and the new process ends at once.
                make(|args| unsafe { clone(args) }, 0).1
            });
            assert_eq!(made.join().unwrap(), Some(7), "error {errno}");
        }
    }
}
