//! What a host gives to containers, for people to read.

use std::fs;

use loam_model::oci_spec::runtime::Capability;

use crate::capabilities;
use crate::cgroup::{self, CgroupLayout, Layout};
use crate::lsm::apparmor::AppArmor;
pub use crate::lsm::apparmor::DefaultProfile as AppArmorProfile;
use crate::lsm::selinux;

/// Facts about this host, found where the rest of this crate looks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// How cgroups are laid out.
    pub cgroups: CgroupLayout,
    /// The controllers that limits can be set with.
    pub controllers: Vec<String>,
    /// Whether the processes of a cgroup can be killed at once; `None` when this process may not find out.
    pub cgroup_kill: Option<bool>,
    /// What becomes of the default AppArmor profile; `None` where the kernel does not run AppArmor.
    pub apparmor: Option<AppArmorProfile>,
    /// Whether the kernel runs SELinux.
    pub selinux: bool,
    /// The capabilities that this process lacks, such as `CAP_SYS_ADMIN`; a number when the kernel is newer than our
    /// table.
    pub missing_capabilities: Vec<String>,
}

impl HostReport {
    /// Looks at this host. It needs no rights.
    pub fn look() -> Self {
        let layout = Layout::detect().unwrap_or_default();
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cgroups: layout.kind(),
            controllers: controllers(&layout),
            cgroup_kill: cgroup::can_kill_at_once(&layout),
            apparmor: AppArmor::detect().map(|apparmor| apparmor.default_profile()),
            selinux: selinux::is_on(),
            missing_capabilities: missing(&text("/proc/self/status"), &text("/proc/sys/kernel/cap_last_cap")),
        }
    }
}

fn controllers(layout: &Layout) -> Vec<String> {
    let mut names = layout.available();
    names.retain(|name| !name.starts_with("name="));
    names.sort();
    names.dedup();
    names
}

/// The capabilities that are not in effect (capabilities(7)).
fn missing(status: &str, last: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    let last: u8 = last.trim().parse().unwrap_or(40);
    (0..=last.min(63)).filter(|bit| set & (1 << bit) == 0).map(name).collect()
}

fn name(number: u8) -> String {
    let known: Option<Capability> = capabilities::from_mask(1 << number).into_iter().next();
    known.map_or_else(|| number.to_string(), capabilities::capability_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(missing("CapEff:\t000001fffeffffff\n", "40\n"), ["CAP_SYS_RESOURCE"]);
        assert_eq!(missing("CapEff:\t000001ffffffffff\n", "41\n"), ["41"]);
    }

    #[test]
    fn the_report_says_what_the_engine_finds() {
        let report = HostReport::look();
        let mut found = cgroup::available_controllers().unwrap_or_default();
        found.retain(|name| !name.starts_with("name="));
        assert!(found.iter().all(|name| report.controllers.contains(name)), "{report:?} {found:?}");
        assert_eq!(report.cgroups == CgroupLayout::Absent, Layout::detect().is_err());
    }
}
