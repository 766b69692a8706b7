//! Processes that are named by a descriptor, and what takes its place where the kernel gives none.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags};

use crate::features::Feature;

/// Opens a process (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// `SRCH` when there is none; `NOSYS` when the call is refused, or turned off by [`Feature::Pidfd`]: then the process
/// can only be known by its id and its [`start_time`](crate::start_time), as [`HeldProcess`](crate::HeldProcess) does.
#[expect(clippy::disallowed_methods, reason = "this is the one that others are to call")]
pub fn open_process(pid: Pid) -> Result<OwnedFd> {
    if Feature::Pidfd.is_off() {
        return Err(Errno::NOSYS);
    }
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        // The kernel lets anybody open any process: that is a sandbox's answer.
        Err(Errno::PERM) => Err(Errno::NOSYS),
        opened => opened,
    }
}

/// Whether a sandbox refuses pidfd_open(2) or pidfd_send_signal(2) whatever is asked, looked at once.
fn is_refused() -> bool {
    static REFUSED: OnceLock<bool> = OnceLock::new();
    *REFUSED.get_or_init(|| match open_process(rustix::process::getpid()) {
        Ok(own) => call_send_signal(own.as_fd(), 0).is_err(),
        Err(_) => true,
    })
}

fn call_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: takes integers; a null `siginfo` asks for the one that kill(2) would make.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends any signal number, real-time signals too, to the process (pidfd_send_signal(2), Linux 5.1).
///
/// Where that call is refused, the process that the descriptor stands for is signalled by its id. A caller who made the
/// process and has not reaped it yet can't miss: until then the id is nobody else's.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    if !Feature::Pidfd.is_off() {
        let sent = call_send_signal(pidfd, signal);
        match sent.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(libc::ENOSYS)) => {}
            // Of a sandbox, or of who may not signal this process.
            Err(Some(libc::EPERM)) if is_refused() => {}
            _ => return sent,
        }
    }
    send_to(id_behind(pidfd)?, signal)
}

/// The id of the process that a descriptor stands for (proc(5), `/proc/self/fdinfo`); an ended one has none.
fn id_behind(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|id| id.trim().parse().ok());
    id.filter(|id| *id > 0).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

pub(crate) fn send_to(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes integers and touches no memory.
    let result = unsafe { libc::kill(pid, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refuse_calls;

    #[test]
    fn what_a_sandbox_refuses_has_another_way_whatever_its_error() {
        // This test's thread alone is in the sandbox; no other test here is answered with EPERM.
        for errno in [libc::EPERM, libc::ENOSYS] {
            std::thread::spawn(move || {
                let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
                let pidfd = open_process(Pid::from_child(&child)).unwrap();
                refuse_calls(&[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal], errno).unwrap();
                assert_eq!(open_process(Pid::from_child(&child)).unwrap_err(), Errno::NOSYS);
                send_signal(pidfd.as_fd(), 9).unwrap();
                child.wait().unwrap();
            })
            .join()
            .unwrap();
        }
    }

    #[test]
    fn the_process_behind_a_descriptor_is_signalled_by_its_id() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open_process(Pid::from_child(&child)).unwrap();
        let id = id_behind(pidfd.as_fd()).unwrap();
        assert_eq!(u32::try_from(id).unwrap(), child.id());
        send_to(id, 9).unwrap();
        child.wait().unwrap();
        assert_eq!(id_behind(pidfd.as_fd()).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
