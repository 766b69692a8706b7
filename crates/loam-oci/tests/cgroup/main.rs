//! Cgroups against the kernel of this machine, whatever versions it has mounted. Needs root.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod killing;
mod life;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use loam_model::oci_spec::runtime::LinuxResources;
use loam_oci::Cgroup;

/// Says by name that a test can't run, and whether it can.
pub(crate) fn can_run(name: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    println!("skipped: {name}: needs root");
    false
}

pub(crate) fn path(name: &str) -> String {
    format!("/loam-test-{}/{name}", std::process::id())
}

pub(crate) fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).expect("valid resources")
}

/// A process of ours that does nothing.
pub(crate) fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep is on every machine")
}

pub(crate) fn id(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("process ids are small")
}

/// The directory of a version 1 controller.
pub(crate) fn v1(cgroup: &Cgroup, controller: &str) -> Option<PathBuf> {
    let mounts = cgroup.container_mounts();
    let is = |mount: &&loam_oci::CgroupMount| mount.options.split(',').any(|name| name == controller);
    mounts.iter().find(is).map(|mount| mount.source.clone())
}

pub(crate) fn nothing_left(cgroup: &Cgroup) {
    for mount in cgroup.container_mounts() {
        assert!(!mount.source.exists(), "{} is left", mount.source.display());
    }
}
