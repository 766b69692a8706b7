//! Device nodes that every container has, and which devices its cgroup lets it use.

use loam_model::oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType};

/// A device node in `/dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// The name below `/dev`.
    pub name: &'static str,
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// The character devices that a runtime makes without being asked, mode 0666, owned by the container's root (runtime
/// specification, config-linux.md, "Default Devices").
pub const DEFAULT_NODES: [DeviceNode; 6] = [
    DeviceNode { name: "null", major: 1, minor: 3 },
    DeviceNode { name: "zero", major: 1, minor: 5 },
    DeviceNode { name: "full", major: 1, minor: 7 },
    DeviceNode { name: "random", major: 1, minor: 8 },
    DeviceNode { name: "urandom", major: 1, minor: 9 },
    DeviceNode { name: "tty", major: 5, minor: 0 },
];

/// The symbolic links in `/dev` that a runtime makes: name and target.
pub const DEFAULT_LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Major number of the slaves of pseudo-terminals.
const PTS_MAJOR: i64 = 136;
/// The numbers of `/dev/ptmx`.
const PTMX: (i64, i64) = (5, 2);
/// The numbers of `/dev/console`, which is a pseudo-terminal's slave bound there, but programs look at the name.
const CONSOLE: (i64, i64) = (5, 1);

/// The rule that refuses every device: the first of a secure list.
pub fn deny_all() -> LinuxDeviceCgroup {
    rule(false, LinuxDeviceType::A, None, None, "rwm")
}

/// The rules for the devices that every container may use: making any node (its use is another matter), the default
/// nodes, and pseudo-terminals. Runtimes add these to a list that begins with [`deny_all`].
pub fn default_rules() -> Vec<LinuxDeviceCgroup> {
    let c = LinuxDeviceType::C;
    let mut rules = vec![rule(true, c, None, None, "m"), rule(true, LinuxDeviceType::B, None, None, "m")];
    for node in DEFAULT_NODES {
        rules.push(rule(true, c, Some(node.major.into()), Some(node.minor.into()), "rwm"));
    }
    rules.push(rule(true, c, Some(PTS_MAJOR), None, "rwm"));
    for (major, minor) in [PTMX, CONSOLE] {
        rules.push(rule(true, c, Some(major), Some(minor), "rwm"));
    }
    rules
}

fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroupBuilder::default()
        .allow(allow)
        .typ(kind)
        .access(access)
        .build()
        .expect("every member of a device rule has a default");
    rule.set_major(major).set_minor(minor);
    rule
}
