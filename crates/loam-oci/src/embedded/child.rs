//! What the shim does to a process that it is making, from outside.

use std::os::fd::{AsFd, BorrowedFd};

use loam_model::Result;
use loam_sys::Spawned;
use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, WaitId, WaitIdOptions};

use super::container::KILL;
use super::explain::Explain;
use super::namespaces::Mappings;
use super::process_plan::Limit;

/// Writes the mappings of a new user namespace.
pub(super) fn map_ids(mappings: &Mappings, pid: i32) -> Result<()> {
    for (file, mapping) in [("uid_map", &mappings.users), ("gid_map", &mappings.groups)] {
        let Some(mapping) = mapping else { continue };
        std::fs::write(format!("/proc/{pid}/{file}"), mapping.to_map_text())
            .explain(|| format!("writing the `{file}` of the container failed"))?;
    }
    Ok(())
}

/// Raises hard limits above the shim's own where that is allowed; the process itself then sets what it gets.
pub(super) fn raise_limits(pid: i32, limits: &[Limit]) {
    for limit in limits {
        let now = rustix::process::getrlimit(limit.resource);
        let higher = match (limit.hard, now.maximum) {
            (Some(asked), Some(now)) => asked > now,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if higher {
            let raised = Rlimit { current: now.current, maximum: limit.hard };
            rustix::process::prlimit(Pid::from_raw(pid), limit.resource, raised).ok();
        }
    }
}

/// Shifts the choice of the out-of-memory killer. Lowering it takes CAP_SYS_RESOURCE; without, it stays as it is.
pub(super) fn adjust_oom_score(pid: i32, adjust: i32) -> Result<()> {
    match std::fs::write(format!("/proc/{pid}/oom_score_adj"), adjust.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other.explain(|| format!("setting the out-of-memory score `{adjust}` failed")),
    }
}

/// Ends a child that is not wanted after all. It fails only when the child is gone, which is as well.
pub(super) fn kill_and_reap(child: &Spawned) {
    loam_sys::send_signal(child.pidfd.as_fd(), KILL).ok();
    reap(child.pidfd.as_fd()).ok();
}

/// Waits until a child has ended and takes it out of the process table.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)) {
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno),
    }
}
