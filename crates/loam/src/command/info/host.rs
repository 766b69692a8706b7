//! What the host's kernel and its settings allow: what the adapters find, and what `/proc` and `/sys` say.

use std::fs;
use std::path::Path;

use loam_sys::kernel;
use serde::Serialize;

use super::features::{self, FeatureState};
use crate::wiring::{AppArmorProfile, CgroupLayout, HostReport, MountWays};

/// What is known of the host.
#[derive(Debug, Serialize)]
pub(super) struct Host {
    kernel: String,
    architecture: &'static str,
    cgroups: CgroupLayout,
    controllers: Vec<String>,
    user_namespaces: bool,
    overlay: bool,
    seccomp: bool,
    apparmor: bool,
    apparmor_default_profile: Option<&'static str>,
    selinux: bool,
    ipv6: bool,
    ip_forwarding: bool,
    missing_capabilities: Vec<String>,
    memory: Option<u64>,
    processors: usize,
    features: Vec<FeatureState>,
}

impl Host {
    /// Joins what the adapters found with what the files below a root say.
    pub(super) fn look(root: &Path, report: HostReport, ways: &MountWays) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let exists = |path: &str| root.join(path).exists();
        let kernel = read("proc/sys/kernel/osrelease").trim().to_owned();
        // Loaded when it is first mounted, where it is a module.
        let overlay = read("proc/filesystems").lines().any(|line| line.ends_with("\toverlay"))
            || exists(&format!("lib/modules/{kernel}/kernel/fs/overlayfs"));
        Self {
            features: features::look(&report, ways),
            cgroups: report.cgroups,
            controllers: report.controllers,
            user_namespaces: read("proc/sys/user/max_user_namespaces").trim().parse().unwrap_or(0_u64) > 0,
            overlay,
            seccomp: read("proc/sys/kernel/seccomp/actions_avail").contains("errno"),
            apparmor: report.apparmor.is_some(),
            apparmor_default_profile: report.apparmor.map(profile),
            selinux: report.selinux,
            ipv6: exists("proc/net/if_inet6"),
            ip_forwarding: read("proc/sys/net/ipv4/ip_forward").trim() == "1",
            missing_capabilities: report.missing_capabilities,
            memory: memory(&read("proc/meminfo")),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            architecture: std::env::consts::ARCH,
            kernel,
        }
    }

    /// What is known, in words.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let yes = |yes: bool| if yes { "yes".to_owned() } else { "no".to_owned() };
        let layout = match self.cgroups {
            CgroupLayout::Unified => "version 2",
            CgroupLayout::Hybrid => "version 1, with 2 beside it",
            CgroupLayout::Legacy => "version 1",
            CgroupLayout::Absent => "not mounted",
        };
        let missing = self.missing_capabilities.join(", ");
        let apparmor = match self.apparmor_default_profile {
            Some(profile) if self.apparmor => format!("yes, `loam-default` {profile}"),
            _ => yes(self.apparmor),
        };
        let too_old = kernel::objection(&self.kernel).map(|why| format!(" ({why})")).unwrap_or_default();
        let mut rows = vec![
            ("kernel", format!("{} on {}{too_old}", self.kernel, self.architecture)),
            ("processors", self.processors.to_string()),
            ("memory", self.memory.map_or_else(|| "unknown".to_owned(), crate::human::bytes)),
            ("cgroups", layout.to_owned()),
            ("controllers", self.controllers.join(" ")),
            ("user namespaces", yes(self.user_namespaces)),
            ("overlay", yes(self.overlay)),
            ("seccomp", yes(self.seccomp)),
            ("AppArmor", apparmor),
            ("SELinux", yes(self.selinux)),
            ("IPv6", yes(self.ipv6)),
            ("IP forwarding", yes(self.ip_forwarding)),
            ("missing capabilities", if missing.is_empty() { "none".to_owned() } else { missing }),
        ];
        rows.extend(self.features.iter().map(FeatureState::row));
        rows
    }
}

/// What becomes of the default profile, in words.
fn profile(state: AppArmorProfile) -> &'static str {
    match state {
        AppArmorProfile::Loaded => "is loaded",
        AppArmorProfile::Loadable => "is loaded at the first start",
        AppArmorProfile::NoParser => "is not applied: `apparmor_parser` is not installed",
        AppArmorProfile::OutOfReach => "is not applied: profiles can't be seen or loaded from here",
    }
}

fn memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(memory("MemTotal:        2048 kB\n"), Some(2 << 20));
        assert_eq!(memory(""), None);
    }

    #[test]
    fn a_kernel_that_is_too_old_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("proc/sys/kernel/osrelease");
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(file, "5.10.0-28-amd64\n").expect("written");
        let host = Host::look(directory.path(), HostReport::look(), &MountWays::default());
        let row = host.rows().into_iter().find(|(name, _)| *name == "kernel").expect("a row");
        assert!(row.1.ends_with(" (Linux 5.10 is too old: Loam needs Linux 5.14 or later)"), "{row:?}");
    }

    #[test]
    fn a_host_without_anything_is_no_reason_to_fail() {
        let directory = tempfile::tempdir().expect("a directory");
        let report = HostReport {
            cgroups: CgroupLayout::Absent,
            controllers: Vec::new(),
            cgroup_kill: Some(false),
            apparmor: None,
            selinux: false,
            missing_capabilities: Vec::new(),
        };
        let host = Host::look(directory.path(), report, &MountWays::default());
        assert!(host.rows().contains(&("cgroups", "not mounted".to_owned())));
        assert!(!host.overlay && !host.user_namespaces);
    }
}
