//! What a test needs of the machine beyond root, and the record of where it ran.
//!
//! Each tier (the host, a guest with another kernel) runs all tests. A test whose needs a tier can't meet says so by name
//! and returns; both are written to the file that `LOAM_TEST_RECORD` names, one line a test: its name, a tab, and `ran`
//! or `lacks` and the needs that are not met. Together the tiers' records show whether a test ran anywhere.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Control groups of version 1 with the controllers.
    CgroupV1,
    /// Control groups of version 2 with all controllers, and nothing of version 1.
    CgroupV2,
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
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CgroupV1 => "cgroup-v1",
            Self::CgroupV2 => "cgroup-v2",
            Self::XfsProjectQuota => "xfs-prjquota",
            Self::Ext4ProjectQuota => "ext4-prjquota",
            Self::Btrfs => "btrfs",
            Self::Systemd => "systemd",
            Self::AppArmor => "apparmor",
        })
    }
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::CgroupV1 => Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists(),
            Self::CgroupV2 => fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                .is_ok_and(|list| ["cpu", "memory", "pids"].iter().all(|name| list.contains(name))),
            Self::XfsProjectQuota => mounts_with_project_quota("xfs"),
            Self::Ext4ProjectQuota => mounts_with_project_quota("ext4"),
            Self::Btrfs => knows_file_system("btrfs") && Path::new("/usr/bin/btrfs").exists(),
            Self::Systemd => Path::new("/run/systemd/system").exists(),
            Self::AppArmor => fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|answer| answer.trim() == "Y"),
        }
    }
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

/// Writes down that the calling test runs on this tier.
pub(crate) fn record_run() {
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

fn knows_file_system(name: &str) -> bool {
    let known = || {
        fs::read_to_string("/proc/filesystems")
            .is_ok_and(|list| list.lines().any(|line| line.ends_with(&format!("\t{name}"))))
    };
    known() || (Command::new("modprobe").arg(name).output().is_ok() && known())
}

/// Whether a file system in a file can be mounted with project quotas; the kernel's answer to a real mount.
fn mounts_with_project_quota(kind: &str) -> bool {
    let Ok(directory) = tempfile::tempdir() else { return false };
    let image = directory.path().join("image");
    let make = match kind {
        "xfs" => "mkfs.xfs -q",
        _ => "mkfs.ext4 -q -F -O quota,project",
    };
    let script = format!(
        "set -e; truncate -s 320M '{image}'; {make} '{image}'; mkdir '{image}.d'; \
         mount -t {kind} -o loop,prjquota '{image}' '{image}.d'; umount '{image}.d'",
        image = image.display()
    );
    Command::new("sh").args(["-c", &script]).output().is_ok_and(|output| output.status.success())
}
