//! What a test needs of the machine beyond root, and the record of where it ran.
//!
//! Each tier (the host, a guest with another kernel) runs all tests. A test whose needs a tier can't meet says so by name
//! and returns; both are written to the file that `LOAM_TEST_RECORD` names, one line a test: its name, a tab, and `ran`
//! or `lacks` and the needs that are not met. Together the tiers' records show whether a test ran anywhere.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::memory::{HugePages, SwapSpace};
use crate::quota::FileSystem;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Control groups of version 1 with the controllers.
    CgroupV1,
    /// Control groups of version 2 with the controllers that limits need, and nothing of version 1.
    CgroupV2,
    /// A limit on memory and swap together, and swap, or the right to make some in a file of one's own.
    Swap,
    /// A weight of block input and output for each cgroup.
    BlockWeight,
    /// Temporary files on a file system on a block device of its own.
    BlockDevice,
    /// Huge pages that can be set aside, and a limit on them for each cgroup.
    HugePages,
    /// A kernel that counts and limits by project on XFS.
    XfsProjectQuota,
    /// A kernel that counts and limits by project on ext4.
    Ext4ProjectQuota,
    /// A kernel with btrfs.
    Btrfs,
    /// systemd as process 1, reachable by D-Bus.
    Systemd,
    /// AppArmor switched on, and its parser.
    AppArmor,
    /// A kernel with links of type `dummy`.
    DummyLinks,
    /// A kernel with links of type `ipvlan`.
    IpvlanLinks,
    /// A kernel with links of type `vlan`.
    VlanLinks,
    /// A kernel with links of type `vrf`.
    VrfLinks,
    /// A kernel whose bridges tell virtual networks apart.
    VlanBridges,
    /// A processor that is not emulated. For tests of what no kernel changes and an emulator takes minutes for.
    NativeProcessor,
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CgroupV1 => "cgroup-v1",
            Self::CgroupV2 => "cgroup-v2",
            Self::Swap => "swap",
            Self::BlockWeight => "block-weight",
            Self::BlockDevice => "block-device",
            Self::HugePages => "hugetlb",
            Self::XfsProjectQuota => "xfs-prjquota",
            Self::Ext4ProjectQuota => "ext4-prjquota",
            Self::Btrfs => "btrfs",
            Self::Systemd => "systemd",
            Self::AppArmor => "apparmor",
            Self::DummyLinks => "dummy-links",
            Self::IpvlanLinks => "ipvlan-links",
            Self::VlanLinks => "vlan-links",
            Self::VrfLinks => "vrf-links",
            Self::VlanBridges => "vlan-bridges",
            Self::NativeProcessor => "native-processor",
        })
    }
}

impl Need {
    /// Whether this machine has it.
    pub fn is_met(self) -> bool {
        match self {
            Self::CgroupV1 => Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists(),
            Self::CgroupV2 => {
                ["cpu", "cpuset", "io", "memory", "pids"].into_iter().all(has_v2_controller)
                    && !mounts_version_one()
            }
            Self::Swap => can_limit_swap(),
            Self::BlockWeight => {
                any_cgroup_has(&["blkio.bfq.weight", "blkio.weight", "io.weight", "io.bfq.weight"])
            }
            Self::BlockDevice => block_device(&std::env::temp_dir()).is_some(),
            Self::HugePages => {
                (has_v2_controller("hugetlb") || Path::new("/sys/fs/cgroup/hugetlb/cgroup.procs").exists())
                    && HugePages::set_aside(2).is_some()
            }
            Self::XfsProjectQuota => mounts_with_project_quota(FileSystem::Xfs),
            Self::Ext4ProjectQuota => mounts_with_project_quota(FileSystem::Ext4),
            Self::Btrfs => knows_file_system("btrfs") && Path::new("/usr/bin/btrfs").exists(),
            Self::Systemd => {
                Path::new("/run/systemd/system").exists()
                    && UnixStream::connect("/run/dbus/system_bus_socket").is_ok()
            }
            Self::AppArmor => {
                fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                    .is_ok_and(|answer| answer.trim() == "Y")
                    && ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"]
                        .iter()
                        .any(|path| Path::new(path).exists())
            }
            Self::DummyLinks => makes_link("type dummy"),
            Self::IpvlanLinks => makes_link("link one type ipvlan"),
            Self::VlanLinks => makes_link("link one type vlan id 9"),
            Self::VrfLinks => makes_link("type vrf table 9"),
            Self::VlanBridges => makes_link("type bridge vlan_filtering 1"),
            Self::NativeProcessor => {
                // qemu calls a processor so when no hardware runs its instructions.
                !fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("QEMU TCG CPU"))
            }
        }
    }
}

/// Whether a link can be made, in a network namespace that has a veth pair.
fn makes_link(what: &str) -> bool {
    let script = format!("ip link add one type veth peer name other && ip link add name probe {what}");
    let command = ["--net", "sh", "-c", &script];
    Command::new("unshare").args(command).output().is_ok_and(|output| output.status.success())
}

/// Whether the root of version 2 has a controller to hand down.
fn has_v2_controller(name: &str) -> bool {
    fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .is_ok_and(|list| list.split_whitespace().any(|one| one == name))
}

fn mounts_version_one() -> bool {
    fs::read_to_string("/proc/self/mountinfo")
        .is_ok_and(|list| list.lines().any(|line| line.contains(" - cgroup ")))
}

/// Whether this tier has everything that the calling test needs. When not, the test says so and returns.
#[expect(clippy::print_stdout, reason = "the harness shows what a test says beside its name")]
pub fn met(needs: &[Need]) -> bool {
    let lacking: Vec<String> =
        needs.iter().filter(|need| !need.is_met()).map(|need| need.to_string()).collect();
    if lacking.is_empty() {
        return true;
    }
    let lacking = lacking.join(", ");
    let name = test_name();
    println!("{name}: not run here, lacks {lacking}");
    record(&name, &format!("lacks {lacking}"));
    false
}

/// Writes down that the calling test runs on this tier. A test that makes a [`crate::Host`] need not.
pub fn record_run() {
    record(&test_name(), "ran");
}

fn record(name: &str, what: &str) {
    let Some(path) = std::env::var_os("LOAM_TEST_RECORD") else { return };
    // One write of one short line, so that tests at the same time don't mix theirs.
    fs::File::options()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{name}\t{what}\n").as_bytes()))
        .expect("the record of the tests can be written");
}

/// The test harness names each test's thread after it.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test without a name").to_owned()
}

/// A device's numbers as the kernel writes them, such as `254:1`.
pub fn device_numbers(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// The whole block device that a directory lies on, if it is on one.
pub fn block_device(directory: &Path) -> Option<PathBuf> {
    let device = fs::metadata(directory).ok()?.dev();
    let place = format!("/sys/dev/block/{}", device_numbers(device));
    // A link such as `../../devices/…/vda/vda1`.
    let link = fs::read_link(&place).ok()?;
    let is_partition = Path::new(&place).join("partition").exists();
    let whole = if is_partition { link.parent()? } else { &link };
    let node = Path::new("/dev").join(whole.file_name()?);
    node.exists().then_some(node)
}

/// Whether a cgroup below a root has one of these files; roots have none.
fn any_cgroup_has(files: &[&str]) -> bool {
    // Tests look at the same time.
    static PROBES: AtomicU32 = AtomicU32::new(0);
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/blkio"].map(Path::new);
    mounts.iter().filter(|mount| mount.join("cgroup.procs").exists()).any(|mount| {
        // Not remembered: the controllers may be handed down only when a container needs them.
        let number = PROBES.fetch_add(1, Ordering::Relaxed);
        let probe = mount.join(format!("loam-need-{}-{number}", std::process::id()));
        let made = fs::create_dir(&probe);
        let has = files.iter().any(|file| probe.join(file).exists());
        made.is_ok_and(|()| fs::remove_dir(&probe).is_ok()) && has
    })
}

/// Making some takes seconds in an emulated machine, so it is tried once.
fn can_limit_swap() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let counted =
        || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() || Need::CgroupV2.is_met();
    *ANSWER.get_or_init(|| counted() && SwapSpace::borrow().is_some())
}

fn knows_file_system(name: &str) -> bool {
    let known = || {
        fs::read_to_string("/proc/filesystems")
            .is_ok_and(|list| list.lines().any(|line| line.ends_with(&format!("\t{name}"))))
    };
    known() || (Command::new("modprobe").arg(name).output().is_ok() && known())
}

/// Whether a file system in a file can be mounted with project quotas; the kernel's answer to a real mount.
fn mounts_with_project_quota(kind: FileSystem) -> bool {
    let Ok(directory) = tempfile::tempdir() else { return false };
    let image = directory.path().join("image");
    let (make, options) = (kind.make(), kind.mount_options());
    let script = format!(
        "set -e; truncate -s 320M '{image}'; {make} '{image}'; mkdir '{image}.d'; \
         mount -o {options} '{image}' '{image}.d'; umount '{image}.d'",
        image = image.display()
    );
    Command::new("sh").args(["-c", &script]).output().is_ok_and(|output| output.status.success())
}
