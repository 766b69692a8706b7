//! Idmapped mounts: mount_setattr(2) with a user namespace that carries the mapping.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal};

/// Bytes of the stack of the child that holds a namespace: it makes a few system calls.
const STACK: usize = 32 << 10;

/// Makes a user namespace with this mapping for users and groups (the text of `/proc/PID/uid_map`) and gives a
/// descriptor of it. A process is made for the moment; none is left.
///
/// It shares our memory when nobody may look into that, as a shim's (`PR_SET_DUMPABLE`): a copy would only be made to be thrown
/// away. Else it is a copy: without any right of theirs, others of our user may look into a process of a user namespace that
/// is ours (user_namespaces(7)), and could write into us.
pub fn user_namespace(mapping: &str) -> io::Result<OwnedFd> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let pid = hold_namespace(&mut stack)?;
    let namespace = map_and_open(pid, mapping);
    // Before the stack goes.
    end(pid)?;
    namespace
}

/// Makes the process, on this stack.
fn hold_namespace(stack: &mut [u128]) -> io::Result<Pid> {
    let parent = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs() as usize;
    let is_closed = rustix::process::dumpable_behavior()? == DumpableBehavior::NotDumpable;
    let shared = if is_closed { libc::CLONE_VM } else { 0 };
    // No handler of ours may run there: it could do so in our memory.
    let raw = without_signals(|| {
        let top = stack.as_mut_ptr_range().end.cast();
        let flags = shared | libc::CLONE_NEWUSER | libc::SIGCHLD;
        // SAFETY: the stack is the caller's, aligned, and outlives the child, which the caller reaps. The child may run beside us in our
        // memory and writes to that stack alone; to `errno` of this thread, too, where close_range(2) is refused, and until
        // it is reaped this thread makes no call that uses it.
        unsafe { libc::clone(wait_to_be_killed, top, flags, ptr::without_provenance_mut(parent)) }
    })?;
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    Pid::from_raw(raw).ok_or_else(|| io::Error::from(Errno::SRCH))
}

/// Does something while no signal reaches this thread, which the processes that it makes take on.
fn without_signals<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set that it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: one set has been filled, the other is for the old mask.
    let refused = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) };
    if refused != 0 {
        return Err(io::Error::from_raw_os_error(refused));
    }
    let result = work();
    // SAFETY: the old mask was written above; nothing is asked for in return.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut()) };
    Ok(result)
}

/// What the child does: it holds nothing open, and does not outlive its parent, whose number it is given.
extern "C" fn wait_to_be_killed(parent: *mut c_void) -> c_int {
    // Nobody in this process uses a descriptor; the table is a copy.
    crate::descriptors::close_range(0, libc::c_uint::MAX).ok();
    // These calls go to the kernel without the C library, which would use what it keeps of this thread.
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return 0;
    }
    // A parent that died before that sends no signal.
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if usize::try_from(now) != Ok(parent.addr()) {
        return 0;
    }
    loop {
        rustix::event::pause();
    }
}

/// Kills and reaps the child, which is reaped whatever the signal met.
fn end(pid: Pid) -> io::Result<()> {
    let killed = rustix::process::kill_process(pid, Signal::KILL);
    let options = rustix::process::WaitOptions::empty();
    rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), options))?;
    Ok(killed?)
}

fn map_and_open(pid: Pid, mapping: &str) -> io::Result<OwnedFd> {
    let pid = pid.as_raw_nonzero();
    for file in ["uid_map", "gid_map"] {
        let target =
            rustix::fs::open(format!("/proc/{pid}/{file}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        // The kernel takes a mapping in one write or not at all.
        rustix::io::write(&target, mapping.as_bytes())?;
    }
    let namespace =
        rustix::fs::open(format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(namespace)
}

/// Maps the ids of a detached mount, and with `recursive` of all below it, by a user namespace.
pub fn set_mount_id_mapping(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let descriptor = u64::from(namespace.as_raw_fd().unsigned_abs());
    set_attributes(mount, libc::MOUNT_ATTR_IDMAP, descriptor, recursive)
}

/// Makes a detached mount read-only, whatever its file system says.
pub fn set_mount_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY, 0, false)
}

fn set_attributes(mount: BorrowedFd<'_>, set: u64, namespace: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: namespace };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, and the attributes are a whole structure of the size that is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
