//! The directory of a cgroup in one hierarchy: processes join it, and a container is shown it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use super::CgroupError;
use super::files::write;
use super::hierarchy::Hierarchy;

/// How often a version 1 hierarchy is asked to take a process that is still being born, and how long between.
const JOIN_ATTEMPTS: u32 = 5;
const JOIN_PAUSE: Duration = Duration::from_millis(30);

/// The kind of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One of several, with some controllers.
    V1,
    /// The unified hierarchy.
    V2,
}

/// How one hierarchy is shown in a container, below its `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// The kind: file system type `cgroup` or `cgroup2`.
    pub version: CgroupVersion,
    /// The container's directory in the hierarchy on the host, to bind.
    pub source: PathBuf,
    /// The directory below `/sys/fs/cgroup`, such as `memory` or `cpu,cpuacct`; empty when the hierarchy is
    /// `/sys/fs/cgroup` itself (only v2 is there).
    pub target: String,
    /// The mount option that names a v1 hierarchy, such as `memory`, `cpu,cpuacct` or `name=systemd`.
    pub options: String,
    /// Names of symbolic links to `target` beside it, such as `cpu` for `cpu,cpuacct`.
    pub links: Vec<String>,
}

/// The directory of a cgroup in one hierarchy.
#[derive(Debug)]
pub(super) struct CgroupDirectory {
    pub(super) hierarchy: Hierarchy,
    pub(super) path: PathBuf,
}

impl CgroupDirectory {
    /// Moves a process in. Zero is the caller.
    pub(super) fn join(&self, pid: i32) -> Result<(), CgroupError> {
        let file = self.path.join("cgroup.procs");
        let mut left = JOIN_ATTEMPTS;
        loop {
            left -= 1;
            match write(&file, &pid.to_string()) {
                // A process that is still being born can't be moved in version 1; nothing tells when it can.
                Err(CgroupError::Write { source, .. })
                    if source.kind() == ErrorKind::InvalidInput && left > 0 =>
                {
                    std::thread::sleep(JOIN_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// How the hierarchy is shown in a container.
    pub(super) fn container_mount(&self) -> CgroupMount {
        let target = self.hierarchy.relative().to_owned();
        let plain = self.hierarchy.controllers.iter().filter(|name| !name.contains('='));
        let links = plain.filter(|&name| *name != target).cloned().collect();
        CgroupMount {
            version: self.hierarchy.version,
            source: self.path.clone(),
            target,
            options: self.hierarchy.controllers.join(","),
            links,
        }
    }
}

/// Whether a hierarchy does not let one in.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::files::below;
    use std::path::Path;

    #[test]
    fn a_joint_hierarchy_is_shown_with_links() {
        let hierarchy = Hierarchy {
            version: CgroupVersion::V1,
            mount: PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"),
            controllers: vec!["cpu".to_owned(), "cpuacct".to_owned()],
            read_only: false,
        };
        let mount = CgroupDirectory { path: below(&hierarchy.mount, "/loam/1"), hierarchy }.container_mount();
        assert_eq!(mount.links, ["cpu", "cpuacct"]);
        assert_eq!((mount.target.as_str(), mount.options.as_str()), ("cpu,cpuacct", "cpu,cpuacct"));
        assert_eq!(mount.source, Path::new("/sys/fs/cgroup/cpu,cpuacct/loam/1"));
    }
}
