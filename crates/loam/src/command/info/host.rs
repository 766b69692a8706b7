//! What the host's kernel and its settings allow, read from `/proc` and `/sys`.

use std::fs;
use std::path::Path;

use loam_oci::lsm::apparmor::{AppArmor, DEFAULT_PROFILE, DefaultProfile};
use loam_sys::kernel::KernelVersion;
use serde::Serialize;

use super::features::{self, FeatureState};

/// How cgroups are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CgroupLayout {
    /// Version 2 alone.
    Unified,
    /// Version 1, and version 2 without controllers beside it.
    Hybrid,
    /// Version 1 alone.
    Legacy,
    /// None.
    Absent,
}

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
    /// Looks at the host whose root is at this path.
    pub(super) fn look(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let exists = |path: &str| root.join(path).exists();
        let kernel = read("proc/sys/kernel/osrelease").trim().to_owned();
        let mounts = read("proc/self/mountinfo");
        let cgroups = layout(&mounts);
        // Loaded when it is first mounted, where it is a module.
        let overlay = read("proc/filesystems").lines().any(|line| line.ends_with("\toverlay"))
            || exists(&format!("lib/modules/{kernel}/kernel/fs/overlayfs"));
        Self {
            cgroups,
            controllers: match cgroups {
                CgroupLayout::Unified => words(&read("sys/fs/cgroup/cgroup.controllers")),
                _ => legacy_controllers(&mounts),
            },
            user_namespaces: read("proc/sys/user/max_user_namespaces").trim().parse().unwrap_or(0_u64) > 0,
            overlay,
            seccomp: read("proc/sys/kernel/seccomp/actions_avail").contains("errno"),
            apparmor: read("sys/module/apparmor/parameters/enabled").trim() == "Y",
            apparmor_default_profile: AppArmor::detect().map(|apparmor| profile(apparmor.default_profile())),
            selinux: exists("sys/fs/selinux/enforce"),
            ipv6: exists("proc/net/if_inet6"),
            ip_forwarding: read("proc/sys/net/ipv4/ip_forward").trim() == "1",
            missing_capabilities: missing_capabilities(
                &read("proc/self/status"),
                &read("proc/sys/kernel/cap_last_cap"),
            ),
            memory: memory(&read("proc/meminfo")),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            architecture: std::env::consts::ARCH,
            features: features::look(KernelVersion::parse(&kernel), cgroups == CgroupLayout::Unified),
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
            Some(profile) if self.apparmor => format!("yes, `{DEFAULT_PROFILE}` {profile}"),
            _ => yes(self.apparmor),
        };
        let mut rows = vec![
            ("kernel", format!("{} on {}", self.kernel, self.architecture)),
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
fn profile(state: DefaultProfile) -> &'static str {
    match state {
        DefaultProfile::Loaded => "is loaded",
        DefaultProfile::Loadable => "is loaded at the first start",
        DefaultProfile::NoParser => "is not applied: `apparmor_parser` is not installed",
        DefaultProfile::OutOfReach => "is not applied: profiles can't be seen or loaded from here",
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The mounts of cgroup file systems: where, which version, and the options of the file system.
fn cgroup_mounts(mounts: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let kind = after.next().filter(|kind| kind.starts_with("cgroup"))?;
        Some((before.split(' ').nth(4)?, kind, after.nth(1)?))
    })
}

fn layout(mounts: &str) -> CgroupLayout {
    let has = |wanted: &str| cgroup_mounts(mounts).any(|(_, kind, _)| kind == wanted);
    match (has("cgroup"), has("cgroup2")) {
        (false, true) => CgroupLayout::Unified,
        (true, true) => CgroupLayout::Hybrid,
        (true, false) => CgroupLayout::Legacy,
        (false, false) => CgroupLayout::Absent,
    }
}

/// The controllers of version 1: what the mounts' options name beside how they are mounted.
fn legacy_controllers(mounts: &str) -> Vec<String> {
    const KNOWN: [&str; 13] = [
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "misc",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
    ];
    let options = cgroup_mounts(mounts)
        .filter(|(_, kind, _)| *kind == "cgroup")
        .flat_map(|(.., options)| options.split(','));
    let mut controllers: Vec<String> =
        options.filter(|option| KNOWN.contains(option)).map(str::to_owned).collect();
    controllers.sort();
    controllers.dedup();
    controllers
}

/// The capabilities that this process lacks (capabilities(7)).
fn missing_capabilities(status: &str, last: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    let last: u8 = last.trim().parse().unwrap_or(40);
    (0..=last.min(63)).filter(|bit| set & (1 << bit) == 0).map(capability_name).collect()
}

/// The name of a capability; its number, when the kernel is newer than our table.
fn capability_name(number: u8) -> String {
    match loam_oci::capabilities::from_mask(1 << number).into_iter().next() {
        Some(capability) => format!("CAP_{capability}"),
        None => number.to_string(),
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

    const V1: &str = "30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 20 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
    const V2: &str = "32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw,nsdelegate\n";

    #[test]
    fn layouts_are_told_by_their_mounts() {
        assert_eq!(layout(V1), CgroupLayout::Legacy);
        assert_eq!(layout(V2), CgroupLayout::Unified);
        assert_eq!(layout(&format!("{V1}{V2}")), CgroupLayout::Hybrid);
        assert_eq!(layout("22 1 0:5 / /proc rw - proc proc rw"), CgroupLayout::Absent);
        assert_eq!(legacy_controllers(V1), ["cpu", "cpuacct", "pids"]);
    }

    #[test]
    fn a_missing_capability_is_named() {
        assert_eq!(missing_capabilities("CapEff:\t000001fffeffffff\n", "40\n"), ["CAP_SYS_RESOURCE"]);
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n", "41\n"), ["41"]);
        assert_eq!(memory("MemTotal:        2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn a_host_without_anything_is_no_reason_to_fail() {
        let directory = tempfile::tempdir().expect("a directory");
        let host = Host::look(directory.path());
        assert_eq!(host.cgroups, CgroupLayout::Absent);
        assert!(!host.overlay && !host.user_namespaces);
    }
}
