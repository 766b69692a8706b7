//! The processes of a cgroup: listing, signalling, killing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loam_sys::HeldProcess;
use loam_sys::features::Feature;
use rustix::io::Errno;
use rustix::process::Pid;

use super::error::is_gone;
use super::{Cgroup, CgroupError, Layout, read, write};

/// The file that kills all processes here and below (Linux 5.14).
const KILL_AT_ONCE: &str = "cgroup.kill";
/// `SIGKILL`.
const KILL: i32 = 9;
/// The last real-time signal, which is the last of all (signal(7)).
const LAST_SIGNAL: i32 = 64;
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
            Some(Err(CgroupError::Write { source, .. })) if !is_gone(&source) => {
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
}

/// Whether cgroups of this host can be killed at once. The root has no such file: a cgroup below it is asked, or, when
/// there is none, one that is made for that; `None` when that may not be made.
pub(crate) fn can_kill_at_once(layout: &Layout) -> Option<bool> {
    let Some(v2) = layout.v2().filter(|_| !Feature::CgroupKill.is_off()) else { return Some(false) };
    let below = fs::read_dir(&v2.mount).into_iter().flatten().flatten();
    let mut directories = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    if let Some(directory) = directories.next() {
        return Some(directory.path().join(KILL_AT_ONCE).exists());
    }
    let made = v2.mount.join(format!("loam-probe-{}", std::process::id()));
    fs::create_dir(&made).ok()?;
    let has = made.join(KILL_AT_ONCE).exists();
    if let Err(error) = fs::remove_dir(&made) {
        tracing::debug!(%error, "a cgroup that was made for a look stays");
    }
    Some(has)
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
            Err(error) if is_gone(&error) => continue,
            other => other.map_err(|source| CgroupError::Read { path: parent.clone(), source })?,
        };
        for entry in entries {
            let entry = match entry {
                Err(error) if is_gone(&error) => break,
                other => other.map_err(|source| CgroupError::Read { path: parent.clone(), source })?,
            };
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
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
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
