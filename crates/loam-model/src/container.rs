//! What a container shall be: the request that every door translates into.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ContainerName, NetworkChoice, NetworkName, PortMapping};

/// Labels of a container, by key.
pub type LabelMap = BTreeMap<String, String>;

/// What is asked of a container, as a door hands it in. Everything left at its default follows the image, then Loam's
/// secure defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image: a reference, an id or a prefix of one.
    pub image: String,
    /// The name; made up when absent.
    pub name: Option<ContainerName>,
    /// Replaces the image's `Entrypoint` (and drops its `Cmd`).
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's `Cmd`.
    pub command: Option<Vec<String>>,
    /// Added to the image's environment, `KEY=VALUE`; the last of a key wins.
    pub environment: Vec<String>,
    /// The working directory, absolute; made when it is missing.
    pub working_directory: Option<String>,
    /// The user, `user`, `uid`, `user:group` and so on (OCI image specification, config.md, `User`).
    pub user: Option<String>,
    /// The host name; the short id when absent.
    pub hostname: Option<String>,
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// Whether standard input is kept open for an attached client.
    pub open_stdin: bool,
    /// Whether `loam-init` runs as process 1.
    pub init: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Whether the container is removed when its process has ended.
    pub auto_remove: bool,
    /// Mounts, in the order given.
    pub mounts: Vec<MountSpec>,
    /// Limits on the container's cgroup.
    pub limits: Limits,
    /// Capabilities, seccomp and the like.
    pub security: Security,
    /// The user namespace.
    pub user_namespace: UserNamespace,
    /// The network.
    pub network: NetworkMode,
    /// Ports published on the host.
    pub ports: Vec<PortMapping>,
    /// Labels.
    pub labels: LabelMap,
    /// The OCI runtime.
    pub runtime: RuntimeChoice,
    /// The signal that asks the process to end; the image's, else `SIGTERM`.
    pub stop_signal: Option<String>,
    /// How long `stop` waits before it kills, in seconds; 10 when absent.
    pub stop_timeout: Option<u32>,
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where in the container, absolute.
    pub target: String,
    /// What is mounted there.
    pub kind: MountKind,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// The path on the host, absolute; must exist.
        source: PathBuf,
        /// Whether mounts below the source come along.
        recursive: bool,
        /// How mounts made later pass between host and container.
        propagation: Propagation,
        /// Whether the container's ids are shifted so that files keep their owners' numbers (the default). Without
        /// it, in a user namespace, files of the host's users appear as nobody's.
        idmap: bool,
        /// Whether programs may be run from it.
        exec: bool,
        /// Whether device nodes work on it.
        dev: bool,
        /// Whether set-user-id programs work on it.
        suid: bool,
        /// Whether its files are to get the container's SELinux label.
        relabel: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// The size in bytes; half of the machine's memory when absent.
        size: Option<u64>,
        /// The mode of its root, 0o1777 when absent.
        mode: Option<u32>,
        /// Whether programs may be run from it.
        exec: bool,
    },
}

/// How mounts made later pass between host and container (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// From the host to the container.
    Slave,
    /// Both ways.
    Shared,
}

/// Limits on a container. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes; swap is limited to the same sum unless `memory_swap` says otherwise.
    pub memory: Option<u64>,
    /// Memory and swap together in bytes, as the runtime specification means it; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Memory in bytes that is taken from others first when memory is short.
    pub memory_reservation: Option<u64>,
    /// How readily the kernel swaps the container's memory out, 0 to 100; version 1 of cgroups alone can do that.
    pub memory_swappiness: Option<u64>,
    /// Processor time in thousandths of one processor: 1500 is one and a half.
    pub cpu_millis: Option<u64>,
    /// The period over which processor time is limited, in microseconds (1000 to 1000000); not beside `cpu_millis`.
    pub cpu_period: Option<u64>,
    /// Processor time in each period, in microseconds; -1 is no limit; not beside `cpu_millis`.
    pub cpu_quota: Option<i64>,
    /// Relative weight, as the runtime specification's `cpu.shares` (2 to 262144).
    pub cpu_shares: Option<u64>,
    /// Processors that may be used, such as `0-1,3`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used, likewise.
    pub cpuset_mems: Option<String>,
    /// Relative weight of block input and output, 10 to 1000.
    pub block_weight: Option<u16>,
    /// The same for single devices.
    pub block_weight_devices: Vec<BlockWeight>,
    /// Rates that block input and output may not exceed.
    pub block_throttles: Vec<BlockThrottle>,
    /// Huge pages in bytes, by the size of the page as the runtime specification writes it, such as `2MB`.
    pub hugepages: BTreeMap<String, u64>,
    /// Processes and threads; 4096 when absent, -1 for no limit.
    pub pids: Option<i64>,
    /// The size of `/dev/shm` in bytes; 64 MiB when absent.
    pub shm_size: Option<u64>,
    /// Resource limits by name without `RLIMIT_`, lower case: soft and hard.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// Shifts the choice of the out-of-memory killer; clamped to what may be set.
    pub oom_score_adjust: Option<i32>,
    /// What the container may write to its root file system, in bytes; at least [`Limits::LEAST_DISK`].
    pub disk: Option<u64>,
}

impl Limits {
    /// The least limit on memory, in bytes: with less no program starts.
    pub const LEAST_MEMORY: u64 = 6 << 20;
    /// The least limit on the disk, in bytes: below it no mechanism has space for its own bookkeeping.
    pub const LEAST_DISK: u64 = 1 << 20;
}

impl ContainerSpec {
    /// Whether a process of the container could move its files to another project id, and so out of a project quota.
    /// The kernel refuses that to everybody in a user namespace; else the default seccomp profile does, and without the
    /// right to administrate nobody changes the limits themselves.
    pub fn can_change_projects(&self) -> bool {
        let administrates = |change: &CapabilityChange| match change {
            CapabilityChange::Add(name) => {
                let name = name.to_ascii_uppercase();
                matches!(name.strip_prefix("CAP_").unwrap_or(&name), "SYS_ADMIN" | "ALL")
            }
            CapabilityChange::Drop(_) => false,
        };
        self.user_namespace == UserNamespace::Host
            && (self.security.seccomp != SeccompChoice::Default
                || self.security.capabilities.iter().any(administrates))
    }
}

/// The weight of block input and output on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockWeight {
    /// The device's node on the host.
    pub device: PathBuf,
    /// The weight, 10 to 1000.
    pub weight: u16,
}

/// A rate that input or output on one device may not exceed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockThrottle {
    /// The device's node on the host.
    pub device: PathBuf,
    /// What is counted.
    pub what: Throttled,
    /// How much of it in a second.
    pub rate: u64,
}

/// What a throttle counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttled {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Read operations.
    ReadOperations,
    /// Write operations.
    WriteOperations,
}

/// What a container may do. The default is the secure one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Changes to the default set of capabilities, in order.
    pub capabilities: Vec<CapabilityChange>,
    /// Whether set-user-id programs and file capabilities may add rights (`--security-opt new-privileges`).
    pub allow_new_privileges: bool,
    /// The seccomp profile.
    pub seccomp: SeccompChoice,
    /// The AppArmor profile, or `unconfined`; one that can't be applied is an error. When absent, Loam's own where the
    /// kernel runs AppArmor.
    pub apparmor: Option<String>,
    /// The parts of the SELinux labels that are chosen; an error where the kernel does not run SELinux.
    pub selinux: SelinuxOptions,
    /// Paths of the default masked and read-only lists that are left alone; `ALL` for all.
    pub unmask: Vec<String>,
}

/// Parts of a container's SELinux labels, `user:role:type:level`. What is absent comes from the host's policy, the
/// level from the container itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelinuxOptions {
    /// Whether the container gets no labels at all.
    pub disable: bool,
    /// The user of its processes.
    pub user: Option<String>,
    /// The role of its processes.
    pub role: Option<String>,
    /// The type of its processes.
    pub kind: Option<String>,
    /// The level of its processes and files.
    pub level: Option<String>,
    /// The type of its files.
    pub file_kind: Option<String>,
}

/// One `--cap-add` or `--cap-drop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityChange {
    /// Adds a capability, by name with or without `CAP_`, or `ALL`.
    Add(String),
    /// Drops a capability, likewise.
    Drop(String),
}

/// Which seccomp profile a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompChoice {
    /// Loam's own.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in the JSON of the runtime specification (`linux.seccomp`), its text.
    Profile(String),
}

/// The user namespace of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserNamespace {
    /// One of its own, with a range of host ids that no other container has.
    #[default]
    Auto,
    /// The host's: root in the container is root on the host.
    Host,
}

/// The network of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// A network namespace of its own, attached to these networks in order.
    Networks(Vec<NetworkChoice>),
    /// A network namespace of its own with nothing but loopback.
    None,
    /// The host's network namespace.
    Host,
}

impl Default for NetworkMode {
    /// The default network, by name.
    fn default() -> Self {
        NetworkMode::Networks(vec![NetworkName::default_network().into()])
    }
}

/// A namespace that containers can share or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// A new one.
    New,
    /// The host's.
    Host,
    /// The one at this path.
    Path(PathBuf),
}

/// Which OCI runtime runs the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeChoice {
    /// The one inside the shim.
    #[default]
    Embedded,
    /// A program that speaks the OCI runtime command line, by name or path.
    Program(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_of_the_host_without_our_filter_changes_projects() {
        let spec =
            |user_namespace, seccomp: &SeccompChoice, capabilities: &[CapabilityChange]| ContainerSpec {
                user_namespace,
                security: Security {
                    seccomp: seccomp.clone(),
                    capabilities: capabilities.to_vec(),
                    ..Security::default()
                },
                ..ContainerSpec::default()
            };
        let (auto, host) = (UserNamespace::Auto, UserNamespace::Host);
        let (ours, none) = (SeccompChoice::Default, SeccompChoice::Unconfined);
        let own = SeccompChoice::Profile("{}".to_owned());
        let admin = [CapabilityChange::Add("cap_sys_admin".to_owned())];
        let all = [CapabilityChange::Add("ALL".to_owned())];
        let drop = [CapabilityChange::Drop("ALL".to_owned())];
        for (user_namespace, seccomp, capabilities, can) in [
            (auto, &none, &all[..], false),
            (host, &ours, &[], false),
            (host, &ours, &drop, false),
            (host, &ours, &admin, true),
            (host, &ours, &all, true),
            (host, &none, &[], true),
            (host, &own, &[], true),
        ] {
            assert_eq!(spec(user_namespace, seccomp, capabilities).can_change_projects(), can);
        }
    }
}
