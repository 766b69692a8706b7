//! Idmapped mounts: mount_setattr(2) with a user namespace that carries the mapping.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};

/// Makes a user namespace with this mapping for users and groups (the text of `/proc/PID/uid_map`) and gives a
/// descriptor of it. A process is made for the moment; none is left.
pub fn user_namespace(mapping: &str) -> io::Result<OwnedFd> {
    // The kernel's clone without a stack works as fork.
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    let parent = rustix::process::getpid();
    // SAFETY: a clone without CLONE_VM and with a null stack copies the process as fork does; the child, which may
    // have been made from a process with threads, makes a few system calls and nothing else.
    let raw = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if raw == 0 {
        wait_to_be_killed(parent);
    }
    let pid = i32::try_from(raw).ok().and_then(|raw| if raw > 0 { Pid::from_raw(raw) } else { None });
    let Some(pid) = pid else { return Err(io::Error::last_os_error()) };
    let namespace = map_and_open(pid, mapping);
    end(pid)?;
    namespace
}

/// What the child does: it holds nothing open, and does not outlive its parent.
fn wait_to_be_killed(parent: Pid) -> ! {
    // Nobody in this process uses a descriptor any more.
    crate::descriptors::close_range(0, libc::c_uint::MAX).ok();
    // SAFETY: prctl with PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // A parent that died before that sends no signal.
    // SAFETY: getppid takes nothing and touches no memory.
    if unsafe { libc::getppid() } != parent.as_raw_nonzero().get() {
        // SAFETY: _exit ends the process without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    loop {
        // SAFETY: pause takes nothing and touches no memory.
        unsafe { libc::pause() };
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
