//! How a new process comes into its cgroup: it starts there where the kernel lets it, else it is moved.

use std::os::fd::{AsFd, OwnedFd};

use loam_model::{CgroupPlace, CreateRequest, ErrorKind, Failure, InvalidCgroup, Result};
use rustix::fs::{Mode, OFlags};

use super::channel::{Channel, Message};
use super::root::is_on;
use crate::Cgroup;

/// The place of the container's cgroup: the configuration's, else a path with its id.
pub(super) fn cgroup_place(request: &CreateRequest<'_>) -> Result<CgroupPlace> {
    let path = request.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(CgroupPlace::Path(format!("/{}", request.id.as_str())));
    };
    path.to_string_lossy().parse().map_err(|error: InvalidCgroup| {
        Failure::new(ErrorKind::Invalid, "the cgroup of the configuration can't be used").caused_by(error)
    })
}

/// Moves the container's process into its cgroup. When it is gone it has said why.
pub(super) fn join(cgroup: &mut Cgroup, pid: i32, channel: &Channel) -> Result<()> {
    let joined = cgroup.join_first(pid);
    let Err(failure) = joined else { return Ok(()) };
    let ended = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
    });
    if ended && let Ok(Some(Message::Failed(said))) = channel.receive() {
        return Err(said);
    }
    Err(failure)
}

/// Whether the unified hierarchy is the only one.
pub(super) fn unified_root() -> bool {
    const CGROUP2: i64 = 0x6367_7270;
    rustix::fs::open("/sys/fs/cgroup", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .and_then(|root| is_on(root.as_fd(), CGROUP2))
        .unwrap_or(false)
}

/// The directory of a cgroup that a process can start in: in the unified hierarchy, if that is the only one.
pub(super) fn unified_directory(cgroup: &Cgroup) -> Option<OwnedFd> {
    if !loam_sys::features::has_clone3() {
        return None;
    }
    let mounts = cgroup.container_mounts();
    let [only] = mounts.as_slice() else { return None };
    if !only.target.is_empty() {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&only.source, flags, Mode::empty()).ok()
}
