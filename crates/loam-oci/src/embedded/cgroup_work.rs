//! The container's view of its cgroup, below its `/sys/fs/cgroup`.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use loam_model::Result;
use loam_sys::MountChange;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::device_plan::{attach, make_file_system};
use super::explain::Explain;
use super::options::{MountOptions, attribute};
use super::root::{PointKind, find_or_make};
use crate::{CgroupMount, CgroupVersion};

/// Mounts the hierarchies. In a cgroup namespace they are mounted anew and show its root, the container's cgroup;
/// otherwise the container's directories are bound, while the host's can still be reached.
pub(super) fn mount_cgroups(
    target: BorrowedFd<'_>,
    options: &MountOptions,
    hierarchies: &[CgroupMount],
    new_namespace: bool,
) -> Result<()> {
    let failed = || "mounting `/sys/fs/cgroup` failed".to_owned();
    if let [only] = hierarchies
        && only.target.is_empty()
    {
        return mount_one(only, target, options, new_namespace).explain(failed);
    }
    let mut directory_options = MountOptions::default();
    directory_options.data.push(("mode".to_owned(), Some("755".to_owned())));
    directory_options.data.push(("size".to_owned(), Some("64k".to_owned())));
    directory_options.here.set = options.here.set & !attribute::READ_ONLY;
    let directory = make_file_system("tmpfs", "cgroup", &directory_options, None).explain(failed)?;
    attach(directory.as_fd(), target).explain(failed)?;
    for hierarchy in hierarchies {
        let failed = || format!("mounting `/sys/fs/cgroup/{}` failed", hierarchy.target);
        let point = find_or_make(directory.as_fd(), Path::new(&hierarchy.target), PointKind::Directory)?;
        mount_one(hierarchy, point.as_fd(), options, new_namespace).explain(failed)?;
        for link in &hierarchy.links {
            rustix::fs::symlinkat(hierarchy.target.as_str(), &directory, link.as_str()).explain(failed)?;
        }
    }
    // The directory of hierarchies has nothing to be written, whatever may be done inside them.
    let change = MountChange { set: attribute::READ_ONLY, ..MountChange::default() };
    loam_sys::change_mount(directory.as_fd(), &change).explain(failed)
}

fn mount_one(
    hierarchy: &CgroupMount,
    target: BorrowedFd<'_>,
    options: &MountOptions,
    new_namespace: bool,
) -> rustix::io::Result<()> {
    if !new_namespace {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(CWD, &hierarchy.source, flags)?;
        let change = MountChange { set: options.here.set | options.below.set, ..MountChange::default() };
        loam_sys::change_mount(mount.as_fd(), &change)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
        return attach(mount.as_fd(), target);
    }
    let mut own = MountOptions { here: options.here, below: options.below, ..MountOptions::default() };
    let kind = match hierarchy.version {
        CgroupVersion::V2 => "cgroup2",
        CgroupVersion::V1 => {
            for option in hierarchy.options.split(',') {
                let (key, value) = match option.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (option, None),
                };
                own.data.push((key.to_owned(), value));
            }
            "cgroup"
        }
    };
    let mount = make_file_system(kind, "cgroup", &own, None)?;
    attach(mount.as_fd(), target)
}
