//! What single runtime programs need before they do what the others do.

use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

/// Where version 2 of cgroups is mounted beside version 1.
const BESIDE: &CStr = c"/sys/fs/cgroup/unified";
/// CGROUP2_SUPER_MAGIC (linux/magic.h).
const CGROUP2: u32 = 0x6367_7270;

/// Prepares the command that runs a program.
///
/// crun refuses to work where both versions of cgroups are mounted. It needs only the first, which has the controllers,
/// so it does not get to see the second.
pub(super) fn prepare(program: &Path, command: &mut Command) {
    let crun = program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("crun"));
    let is_second = || {
        rustix::fs::statfs(BESIDE).is_ok_and(|file_system| u32::try_from(file_system.f_type) == Ok(CGROUP2))
    };
    if crun && is_second() {
        loam_sys::cover_in_child(command, BESIDE);
    }
}
