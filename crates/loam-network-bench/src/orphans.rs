//! Processes whose parent has ended: what a plugin or a killed caller left running. They become children of the worker,
//! so that they can be found, and do not outlive it.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

/// How long what goes on after a call is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Makes this process the parent of all orphans among its descendants.
pub(crate) fn adopt() -> io::Result<()> {
    set_child_subreaper(Some(getpid())).map_err(io::Error::from)
}

/// Ends all children but some, and whatever becomes a child thereby, until there are no others.
pub(crate) fn end_all_but(spared: &[Pid]) -> io::Result<()> {
    loop {
        loam_sys::reap_detached();
        let mut orphans = children();
        orphans.retain(|child| !spared.contains(child));
        if orphans.is_empty() {
            return Ok(());
        }
        for orphan in orphans {
            // It may have ended meanwhile; it has not been waited for, so its id is nobody else's.
            kill_process(orphan, Signal::KILL).unwrap_or_default();
            match waitpid(Some(orphan), WaitOptions::empty()) {
                // One that removes a link for us: the next round looks for it.
                Err(Errno::CHILD) => std::thread::yield_now(),
                waited => drop(waited?),
            }
        }
    }
}

/// Waits for all children but some to end, for a moment at most: a plugin may leave a daemon.
pub(crate) fn wait_for_all_but(others: &[Pid]) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        loam_sys::reap_detached();
        let mut left = children();
        left.retain(|child| !others.contains(child));
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(());
        }
        for child in left {
            match waitpid(Some(child), WaitOptions::NOHANG) {
                // One that removes a link for us.
                Err(Errno::CHILD) => {}
                waited => drop(waited?),
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The children of this process, those that have ended and not been waited for too.
pub(crate) fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    ids.filter(|pid| loam_sys::process_stat(*pid).is_some_and(|stat| stat.parent == own)).collect()
}
