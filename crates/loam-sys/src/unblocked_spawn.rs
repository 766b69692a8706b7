//! Starting a program that shall have no signal blocked.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use crate::execute::set_signal_mask;

/// Has a command start with no signal blocked, whatever this thread has blocked: it would else inherit that, and could
/// not be ended by those signals.
pub fn unblock_signals_in_child(command: &mut Command) {
    if blocked() == 0 {
        return;
    }
    // SAFETY: the closure runs in the forked child and makes one system call with a constant: it neither allocates nor
    // takes locks.
    unsafe {
        command.pre_exec(|| {
            set_signal_mask(0);
            Ok(())
        })
    };
}

/// The signals that the calling thread has blocked, a bit each; all of them if the kernel does not tell.
fn blocked() -> u64 {
    let mut set = 0_u64;
    // SAFETY: the kernel's signal set is 64 bits, which are only written; no new one is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            ptr::null::<u64>(),
            &raw mut set,
            size_of::<u64>(),
        )
    };
    if result == 0 { set } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::SignalQueue;

    fn blocked_in_child(prepare: impl FnOnce(&mut Command)) -> String {
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]);
        prepare(&mut command);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn what_the_thread_has_blocked_is_not_inherited() {
        // A thread of its own, whose mask nothing else sees.
        let thread = std::thread::spawn(|| -> io::Result<()> {
            let _queue = SignalQueue::block(&[libc::SIGTERM])?;
            assert_eq!(blocked(), 1 << (libc::SIGTERM - 1));
            assert!(blocked_in_child(|_| {}).trim_end().ends_with("4000"));
            let unblocked = blocked_in_child(unblock_signals_in_child);
            assert!(unblocked.trim_end().ends_with(&"0".repeat(16)), "{unblocked}");
            Ok(())
        });
        thread.join().unwrap().unwrap();
    }
}
