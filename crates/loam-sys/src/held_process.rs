//! A process that is nobody's child here: signalled and waited for without the risk of meeting another one that has got
//! its id meanwhile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::processes::{open_process, send_signal, send_to};
use crate::start_time;

/// How often the end of a process is looked for where the kernel does not tell of it.
const LOOK: Duration = Duration::from_millis(5);

/// A process that was there when this was made: by descriptor, or, where the kernel gives none, by its id and the time
/// of its start, which is looked at again just before a signal.
#[derive(Debug)]
pub struct HeldProcess {
    pid: Pid,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Descriptor(OwnedFd),
    StartTime(u64),
}

impl HeldProcess {
    /// Holds the process that has this id now; `None` when there is none, or when the id is that of a thread.
    ///
    /// # Errors
    /// Those of pidfd_open(2), but not that the call is refused.
    pub fn new(pid: Pid) -> io::Result<Option<Self>> {
        let hold = match open_process(pid) {
            Ok(pidfd) => Hold::Descriptor(pidfd),
            Err(Errno::NOSYS) => match start_time(pid) {
                Some(start) => Hold::StartTime(start),
                None => return Ok(None),
            },
            // Linux says `INVAL` of a thread, and from 6.15 on `NOENT`.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Self { pid, hold }))
    }

    /// Sends a signal. One that has ended meanwhile gets none, which is no error.
    ///
    /// # Errors
    /// Those of kill(2) except `ESRCH`: the signal is none, or may not be sent.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let sent = match &self.hold {
            Hold::Descriptor(pidfd) => send_signal(pidfd.as_fd(), signal),
            Hold::StartTime(start) if start_time(self.pid) == Some(*start) => {
                send_to(self.pid.as_raw_nonzero().get(), signal)
            }
            Hold::StartTime(_) => Ok(()),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Waits until it has ended; `false` when it has not within the limit.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match &self.hold {
                Hold::Descriptor(pidfd) => {
                    let left = Timespec::try_from(left).map_err(io::Error::other)?;
                    match rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
                        Err(Errno::INTR) => {}
                        other => return Ok(other? > 0),
                    }
                }
                Hold::StartTime(start) if start_time(self.pid) != Some(*start) => return Ok(true),
                Hold::StartTime(_) if left.is_zero() => return Ok(false),
                Hold::StartTime(_) => std::thread::sleep(LOOK.min(left)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn both_ways(child: &Child) -> [HeldProcess; 2] {
        let pid = Pid::from_child(child);
        let by_start = HeldProcess { pid, hold: Hold::StartTime(start_time(pid).unwrap()) };
        [HeldProcess::new(pid).unwrap().unwrap(), by_start]
    }

    #[test]
    fn a_process_is_signalled_and_waited_for_both_ways() {
        for way in 0..2 {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            let process = &both_ways(&child)[way];
            assert!(!process.ends_within(Duration::from_millis(20)).unwrap());
            process.signal(9).unwrap();
            assert!(process.ends_within(Duration::from_secs(10)).unwrap());
            child.wait().unwrap();
            process.signal(9).unwrap();
            assert!(HeldProcess::new(Pid::from_child(&child)).unwrap().is_none());
        }
    }

    #[test]
    fn another_process_with_the_same_id_gets_no_signal() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let earlier = start_time(pid).unwrap() - 1;
        let process = HeldProcess { pid, hold: Hold::StartTime(earlier) };
        process.signal(9).unwrap();
        assert!(process.ends_within(Duration::ZERO).unwrap(), "that one is gone");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_signal_that_is_none_is_refused() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        for process in both_ways(&child) {
            assert_eq!(process.signal(65).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
