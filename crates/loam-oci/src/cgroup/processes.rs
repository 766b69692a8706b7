//! The processes of a cgroup: listing, killing, freezing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use loam_sys::HeldProcess;
use loam_sys::features::Feature;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::{Cgroup, CgroupError, Layout, read, write};

/// The file that kills all processes here and below (Linux 5.14).
const KILL_AT_ONCE: &str = "cgroup.kill";
/// `SIGKILL`.
const KILL: i32 = 9;
/// The last real-time signal, which is the last of all (signal(7)).
const LAST_SIGNAL: i32 = 64;
/// How long processes may take to stand still or to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often frozen processes are thawed again while their end is waited for.
const THAW_AGAIN: Duration = Duration::from_millis(50);
/// How long to wait between looks at what nothing tells about.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How often a cgroup whose processes fork is listed and signalled before that is given up.
const ROUNDS: u32 = 100;
/// How many processes are held at once: fewer than the fewest that a program may usually have open.
const HELD: usize = 256;

impl Cgroup {
    /// Lists the processes here and below.
    pub(super) fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        for directory in tree(self.members())? {
            pids.extend(processes_in(&directory)?);
        }
        Ok(pids)
    }

    /// Kills every process, at once where the kernel can (cgroup.kill, Linux 5.14).
    pub(super) fn kill(&self) -> Result<(), CgroupError> {
        let at_once = self.whole_v2().filter(|_| !Feature::CgroupKill.is_off());
        let killed = at_once.map(|directory| write(&directory.join(KILL_AT_ONCE), "1"));
        match killed {
            Some(Ok(())) => {}
            Some(Err(CgroupError::Write { source, .. })) if source.kind() != ErrorKind::NotFound => {
                return Err(CgroupError::Write {
                    path: self.members().join(KILL_AT_ONCE),
                    value: "1".to_owned(),
                    source,
                });
            }
            _ => self.kill_by_rounds()?,
        }
        self.thaw_below()
    }

    /// Lets everything go on that version 1 has frozen, here or below, whoever froze it: a process dies only then.
    fn thaw_below(&self) -> Result<(), CgroupError> {
        let Some(directory) = self.v1("freezer") else { return Ok(()) };
        let thaw = |one: &PathBuf| ignore_missing(write(&one.join("freezer.state"), "THAWED"));
        tree(directory)?.iter().try_for_each(thaw)
    }

    /// Kills what is listed until only processes are listed that were killed before.
    fn kill_by_rounds(&self) -> Result<(), CgroupError> {
        // Standing still, they can't fork ahead of the signal. Where they can't be stopped the rounds must do.
        let _can_be_missing = self.set_frozen(true);
        let mut killed: Vec<i32> = Vec::new();
        let mut result = Ok(());
        for _ in 0..ROUNDS {
            let fresh: Vec<i32> = self.processes()?.into_iter().filter(|pid| !killed.contains(pid)).collect();
            if fresh.is_empty() {
                break;
            }
            result = result.and(self.send(&fresh, KILL));
            killed.extend(fresh);
        }
        let _can_be_missing = self.set_frozen(false);
        result
    }

    /// Sends a signal to every process that is there now.
    pub(super) fn signal(&self, number: i32) -> Result<(), CgroupError> {
        match number {
            KILL => self.kill(),
            1..=LAST_SIGNAL => self.send(&self.processes()?, number),
            signal => Err(CgroupError::NoSuchSignal { signal }),
        }
    }

    /// Sends a signal to processes that were listed here. A number can have gone to another process since: each is held
    /// first, and then gets the signal only if its number is still listed.
    fn send(&self, pids: &[i32], signal: i32) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for pids in pids.chunks(HELD) {
            let held: Vec<_> = pids.iter().map(|&pid| (pid, hold(pid))).collect();
            let here: HashSet<i32> = self.processes()?.into_iter().collect();
            for (pid, process) in held.into_iter().filter(|(pid, _)| here.contains(pid)) {
                // One that has ended meanwhile is as good; a thread's process is listed itself.
                let sent =
                    process.and_then(|process| process.map_or(Ok(()), |process| process.signal(signal)));
                result = result.and(sent.map_err(|source| CgroupError::Signal { pid, signal, source }));
            }
        }
        result
    }

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
}

/// Whether cgroups of this host can be killed at once. The root has no such file: a cgroup below it is asked, or, when
/// there is none, one that is made for that.
pub(crate) fn can_kill_at_once(layout: &Layout) -> bool {
    let Some(v2) = layout.v2().filter(|_| !Feature::CgroupKill.is_off()) else { return false };
    let below = fs::read_dir(&v2.mount).into_iter().flatten().flatten();
    let mut directories = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if let Some(directory) = directories.next() {
        return directory.path().join(KILL_AT_ONCE).exists();
    }
    let made = v2.mount.join(format!("loam-probe-{}", std::process::id()));
    if fs::create_dir(&made).is_err() {
        return false;
    }
    let has = made.join(KILL_AT_ONCE).exists();
    if let Err(error) = fs::remove_dir(&made) {
        tracing::debug!(%error, "a cgroup that was made for a look stays");
    }
    has
}

/// Whether a version 2 cgroup has processes, here or below; one that is gone has none.
pub(super) fn is_populated(directory: &Path) -> bool {
    let events = fs::read_to_string(directory.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "populated 1")
}

/// Whether a process is in a cgroup or one of those below it.
pub(super) fn is_in_use(directory: &Path) -> Result<bool, CgroupError> {
    for one in tree(directory)? {
        if !processes_in(&one)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A cgroup and all those below it, parents first.
pub(super) fn tree(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut all = vec![directory.to_owned()];
    let mut at = 0;
    while let Some(parent) = all.get(at).cloned() {
        at += 1;
        let entries = match fs::read_dir(&parent) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(|source| CgroupError::Read { path: parent.clone(), source })?,
        };
        for entry in entries {
            let entry = entry.map_err(|source| CgroupError::Read { path: parent.clone(), source })?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all.push(entry.path());
            }
        }
    }
    Ok(all)
}

/// The processes of one cgroup. Those in a PID namespace that can't be seen from here show as zero and are left out.
fn processes_in(directory: &Path) -> Result<Vec<i32>, CgroupError> {
    let text = match fs::read_to_string(directory.join("cgroup.procs")) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => return Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(Vec::new()),
        // A threaded cgroup of version 2 lists only threads.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            read(&directory.join("cgroup.threads"))?
        }
        other => {
            other.map_err(|source| CgroupError::Read { path: directory.join("cgroup.procs"), source })?
        }
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect())
}

/// Holds the process that has this number now.
fn hold(pid: i32) -> io::Result<Option<HeldProcess>> {
    HeldProcess::new(Pid::from_raw(pid).expect("listed process ids are positive"))
}

fn ignore_missing(result: Result<(), CgroupError>) -> Result<(), CgroupError> {
    match result {
        Err(CgroupError::Write { source, .. })
            if source.kind() == ErrorKind::NotFound
                || source.raw_os_error() == Some(Errno::NODEV.raw_os_error()) =>
        {
            Ok(())
        }
        other => other,
    }
}
