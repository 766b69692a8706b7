//! Which of a cgroup's directories is asked: that of a controller, that of version 2, or the one that speaks for the whole.

use std::path::Path;

use super::processes::{is_in_use, is_populated};
use super::{Cgroup, CgroupDirectory, CgroupVersion};

impl Cgroup {
    /// The directory in the hierarchy of a version 1 controller.
    pub(super) fn v1(&self, controller: &str) -> Option<&Path> {
        let has = |directory: &&CgroupDirectory| {
            directory.hierarchy.controllers.iter().any(|name| name == controller)
        };
        self.directories.iter().find(has).map(|directory| directory.path.as_path())
    }

    /// The directory in the version 2 hierarchy.
    pub(super) fn v2(&self) -> Option<&Path> {
        let is = |directory: &&CgroupDirectory| directory.hierarchy.version == CgroupVersion::V2;
        self.directories.iter().find(is).map(|directory| directory.path.as_path())
    }

    /// The directory in the version 2 hierarchy, unless it is empty while something runs in version 1. Where version 2 has
    /// no controllers a runtime may have been refused it, and have gone on without.
    pub(super) fn whole_v2(&self) -> Option<&Path> {
        let directory = self.v2()?;
        let astray =
            |other: &CgroupDirectory| !is_populated(directory) && is_in_use(&other.path).unwrap_or(false);
        if self.controlled().is_some_and(astray) { None } else { Some(directory) }
    }

    /// The first of the version 1 hierarchies with controllers: no process of the cgroup is missing there.
    pub(super) fn controlled(&self) -> Option<&CgroupDirectory> {
        let is = |directory: &&CgroupDirectory| {
            directory.hierarchy.version == CgroupVersion::V1 && !directory.hierarchy.is_tracking()
        };
        self.directories.iter().find(is)
    }

    /// The directory whose list of processes is taken for the whole: version 2's if they are there.
    pub(super) fn members(&self) -> &Path {
        self.whole_v2()
            .or_else(|| self.controlled().map(|directory| directory.path.as_path()))
            .unwrap_or_else(|| &self.directories.last().expect("a cgroup is in at least one hierarchy").path)
    }
}
