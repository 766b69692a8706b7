//! What a bundle must know of the host.

use std::fs;
use std::path::Path;

use loam_model::oci_spec::runtime::{Capabilities, Capability};

use crate::cpu_list::CpuList;
use crate::lsm::apparmor::AppArmor;
use crate::lsm::selinux::Selinux;
use crate::{capabilities, cgroup};

/// Facts about this host and this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// The capabilities that this process has.
    pub(crate) capabilities: Capabilities,
    /// The capabilities that this kernel knows.
    pub(crate) known_capabilities: Capabilities,
    /// The controllers that limits can be set with; `None` when that could not be found out.
    pub(crate) controllers: Option<Vec<String>>,
    /// Whether a cgroup has a swappiness.
    pub(crate) swappiness: bool,
    /// The processors that are online; `None` when the kernel does not tell.
    pub(crate) processors: Option<CpuList>,
    /// The memory nodes that are online, likewise.
    pub(crate) memory_nodes: Option<CpuList>,
    /// The sizes of huge pages that this kernel has, as the runtime specification writes them.
    pub(crate) hugepages: Vec<String>,
    /// Whether the kernel, or a sandbox, refuses the newer mount calls.
    pub(crate) lacks_mount_calls: bool,
    /// This process's `oom_score_adj`.
    pub(crate) oom_score_adjust: i32,
    /// The processors that count how often they were throttled.
    pub(crate) throttled_processors: Vec<u32>,
    /// AppArmor, when the kernel runs it.
    pub(crate) apparmor: Option<AppArmor>,
    /// SELinux, when the kernel runs it.
    pub(crate) selinux: Option<Selinux>,
}

impl Host {
    /// Looks at this host.
    pub(crate) fn detect() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            capabilities: capabilities::of_this_process(),
            known_capabilities: capabilities::known(),
            controllers: cgroup::available_controllers(),
            swappiness: Path::new("/sys/fs/cgroup/memory/memory.swappiness").exists(),
            processors: text("/sys/devices/system/cpu/online").parse().ok(),
            memory_nodes: text("/sys/devices/system/node/online").parse().ok(),
            hugepages: hugepage_sizes(Path::new("/sys/kernel/mm/hugepages")),
            lacks_mount_calls: !loam_sys::features::has_mount_api(),
            oom_score_adjust: text("/proc/self/oom_score_adj").trim().parse().unwrap_or(0),
            throttled_processors: throttled_processors(),
            apparmor: AppArmor::detect(),
            selinux: Selinux::detect(),
        }
    }

    /// Whether this process may raise limits and lower out-of-memory scores.
    pub(crate) fn can_raise(&self) -> bool {
        self.capabilities.contains(&Capability::SysResource)
    }

    /// The capabilities that a container can have: in a user namespace of its own all that the kernel knows, for they
    /// reach no further than the namespace; in the host's those of this process.
    pub(crate) fn grantable(&self, own_user_namespace: bool) -> &Capabilities {
        if own_user_namespace { &self.known_capabilities } else { &self.capabilities }
    }
}

/// The sizes of huge pages in a directory of `hugepages-2048kB` and the like, such as `2MB`.
fn hugepage_sizes(directory: &Path) -> Vec<String> {
    let size = |name: &str| {
        let kibibytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kibibytes {
            1_048_576.. => format!("{}GB", kibibytes >> 20),
            1024.. => format!("{}MB", kibibytes >> 10),
            _ => format!("{kibibytes}KB"),
        })
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut sizes: Vec<String> = entries.filter_map(|entry| size(entry.file_name().to_str()?)).collect();
    sizes.sort();
    sizes
}

fn throttled_processors() -> Vec<u32> {
    let has = |cpu: &u32| Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle")).exists();
    // Virtual machines have none at all, and then not on the first.
    if !has(&0) {
        return Vec::new();
    }
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let listed = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = listed.trim().rsplit(['-', ',']).next().and_then(|text| text.parse().ok());
    let last = last.unwrap_or(u32::try_from(count).unwrap_or(1).saturating_sub(1));
    (0..=last).filter(has).collect()
}
