//! Where a cgroup is: its directory in each hierarchy, and the one that speaks for the whole.

use std::path::Path;

use super::processes::{is_in_use, is_populated};
use super::{Cgroup, CgroupVersion, Seat};

impl Cgroup {
    /// The directory in the hierarchy of a version 1 controller.
    pub(super) fn v1(&self, controller: &str) -> Option<&Path> {
        let has = |seat: &&Seat| seat.hierarchy.controllers.iter().any(|name| name == controller);
        self.seats.iter().find(has).map(|seat| seat.directory.as_path())
    }

    /// The directory in the version 2 hierarchy.
    pub(super) fn v2(&self) -> Option<&Path> {
        let is = |seat: &&Seat| seat.hierarchy.version == CgroupVersion::V2;
        self.seats.iter().find(is).map(|seat| seat.directory.as_path())
    }

    /// The directory in the version 2 hierarchy, unless it is empty while something runs in version 1. Where version 2 has
    /// no controllers a runtime may have been refused it, and have gone on without.
    pub(super) fn whole_v2(&self) -> Option<&Path> {
        let directory = self.v2()?;
        let astray = |seat: &Seat| !is_populated(directory) && is_in_use(&seat.directory).unwrap_or(false);
        if self.controlled().is_some_and(astray) { None } else { Some(directory) }
    }

    /// The first of the version 1 hierarchies with controllers: no process of the cgroup is missing there.
    pub(super) fn controlled(&self) -> Option<&Seat> {
        let is = |seat: &&Seat| seat.hierarchy.version == CgroupVersion::V1 && !seat.hierarchy.is_tracking();
        self.seats.iter().find(is)
    }

    /// The directory whose list of processes is taken for the whole: version 2's if they are there.
    pub(super) fn members(&self) -> &Path {
        self.whole_v2()
            .or_else(|| self.controlled().map(|seat| seat.directory.as_path()))
            .unwrap_or_else(|| &self.seats.last().expect("a cgroup is in at least one hierarchy").directory)
    }
}
