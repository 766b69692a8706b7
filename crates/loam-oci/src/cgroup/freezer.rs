//! The freezer of a cgroup, and waiting for what becomes of its processes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::error::is_gone;
use super::processes::tree;
use super::{Cgroup, CgroupError, read, write};

/// How long processes may take to stand still or to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often frozen processes are thawed again while their end is waited for.
const THAW_AGAIN: Duration = Duration::from_millis(50);
/// How long to wait between looks at what nothing tells about.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Freezes or thaws, and waits until that is so. Version 2's freezer is preferred: it tells when it is done, and
    /// frozen processes can still be killed.
    pub(super) fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        let deadline = Self::deadline();
        if let Some(directory) = self.whole_v2() {
            match write(&directory.join("cgroup.freeze"), if frozen { "1" } else { "0" }) {
                Err(CgroupError::Write { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                other => {
                    other?;
                    return match self.await_event(directory, "frozen", frozen, deadline)? {
                        true => Ok(()),
                        false => self.check(deadline, "stand still"),
                    };
                }
            }
        }
        let Some(directory) = self.v1("freezer") else {
            return Err(CgroupError::NoFreezer { path: self.path.clone() });
        };
        let (file, state) = (directory.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" });
        loop {
            // Writing again also catches a process that was forked in between.
            write(&file, state)?;
            if read(&file)?.trim() == state {
                return Ok(());
            }
            self.check(deadline, "stand still")?;
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until no process is left, here or below. All of them were killed before.
    pub(super) fn await_empty(&self, deadline: Instant) -> Result<(), CgroupError> {
        let thaws = self.v1("freezer").is_some();
        loop {
            let soon = Instant::now() + if thaws { THAW_AGAIN } else { PATIENCE };
            let is_empty = match self.whole_v2() {
                Some(directory) => self.await_event(directory, "populated", false, soon.min(deadline))?,
                None => self.processes()?.is_empty(),
            };
            if is_empty {
                return Ok(());
            }
            self.check(deadline, "become empty")?;
            // One that still ran may have frozen others, or itself.
            self.thaw_below()?;
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits for a value in version 2's cgroup.events, whose changes poll(2) reports; `false` when it is not there in time.
    fn await_event(
        &self,
        directory: &Path,
        key: &str,
        value: bool,
        deadline: Instant,
    ) -> Result<bool, CgroupError> {
        let path = directory.join("cgroup.events");
        let failed = |source: io::Error| CgroupError::Read { path: path.clone(), source };
        let events = match fs::File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            other => other.map_err(failed)?,
        };
        let wanted = format!("{key} {}", u8::from(value));
        let mut buffer = [0; 256];
        loop {
            let length = match rustix::io::pread(&events, &mut buffer, 0) {
                // The cgroup is gone, with all that was in it.
                Err(Errno::NODEV) => return Ok(true),
                other => other.map_err(|error| failed(error.into()))?,
            };
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == wanted) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = rustix::event::Timespec::try_from(left).expect("ten seconds fit");
            let mut poll = [PollFd::new(&events, PollFlags::PRI)];
            match rustix::event::poll(&mut poll, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    pub(super) fn check(&self, deadline: Instant, what: &'static str) -> Result<(), CgroupError> {
        if Instant::now() < deadline {
            return Ok(());
        }
        Err(CgroupError::Late { path: self.path.clone(), what, seconds: PATIENCE.as_secs() })
    }

    pub(super) fn deadline() -> Instant {
        Instant::now() + PATIENCE
    }

    /// Lets everything go on that version 1 has frozen, here or below, whoever froze it: a process dies only then.
    pub(super) fn thaw_below(&self) -> Result<(), CgroupError> {
        let Some(directory) = self.v1("freezer") else { return Ok(()) };
        let thaw = |one: &PathBuf| ignore_missing(write(&one.join("freezer.state"), "THAWED"));
        tree(directory)?.iter().try_for_each(thaw)
    }
}

fn ignore_missing(result: Result<(), CgroupError>) -> Result<(), CgroupError> {
    match result {
        Err(CgroupError::Write { source, .. }) if is_gone(&source) => Ok(()),
        other => other,
    }
}
