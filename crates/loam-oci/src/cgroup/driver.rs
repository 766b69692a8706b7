//! Who makes cgroups on this host.

use loam_model::{CgroupDriver, Result};

use super::systemd;
use super::{CgroupError, CgroupLayout, Layout};

/// The driver for new containers: the one that is asked for, else systemd where it is process 1, answers on D-Bus, and
/// version 2 is the only hierarchy; else the file system. On version 1 systemd only looks after some controllers, so
/// asking for it there is refused.
pub fn cgroup_driver(choice: Option<CgroupDriver>) -> Result<CgroupDriver> {
    match choice {
        Some(CgroupDriver::Cgroupfs) => Ok(CgroupDriver::Cgroupfs),
        Some(CgroupDriver::Systemd) if !is_unified()? => Err(CgroupError::SystemdOnVersionOne.into()),
        Some(CgroupDriver::Systemd) => Ok(CgroupDriver::Systemd),
        None if is_unified()? && systemd::answers() => Ok(CgroupDriver::Systemd),
        None => Ok(CgroupDriver::Cgroupfs),
    }
}

/// Whether version 2 is the only one; a host without any says so when a container is made.
fn is_unified() -> std::result::Result<bool, CgroupError> {
    match Layout::detect() {
        Ok(layout) => Ok(layout.kind() == CgroupLayout::Unified),
        Err(CgroupError::NoHierarchy) => Ok(false),
        Err(error) => Err(error),
    }
}
