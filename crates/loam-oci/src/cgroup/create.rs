//! Creating the cgroup of a container with its limits, by the driver that its place asks for: [`cgroupfs`] or [`systemd`].

use std::collections::HashMap;

use loam_model::CgroupPlace;
use loam_model::oci_spec::runtime::LinuxResources;

use super::{Cgroup, CgroupError, CgroupVersion, Layout, MemoryNow, cgroupfs, parse, systemd};

impl Cgroup {
    /// Makes the cgroup `path` (absolute below each hierarchy's mount, such as `/loam-ID`) and sets its limits and
    /// device rules. A failure leaves nothing behind.
    pub fn create(path: &str, resources: Option<&LinuxResources>) -> loam_model::Result<Cgroup> {
        let place = parse(path)?;
        if let Some(unit) = place.unit() {
            return Err(CgroupError::NoProcess { unit }.into());
        }
        cgroupfs::make(&place, &Layout::detect()?)?.with_limits(resources)
    }

    /// Makes a cgroup for a process that exists and moves it there, whoever makes it. `annotations` are those of the
    /// container's configuration: some are properties of a scope. A failure leaves nothing behind.
    pub(crate) fn create_around(
        place: &CgroupPlace,
        pid: i32,
        resources: Option<&LinuxResources>,
        annotations: &HashMap<String, String>,
    ) -> loam_model::Result<Cgroup> {
        let (CgroupPlace::Scope { slice, .. }, Some(unit)) = (place, place.unit()) else {
            return Self::create(&place.path(), resources);
        };
        let mut cgroup = Self::at(place, Layout::detect()?);
        cgroup.kills_before = cgroup.kills_in_slice();
        if cgroup.directories.iter().any(|directory| directory.hierarchy.version == CgroupVersion::V1) {
            return Err(CgroupError::SystemdOnVersionOne.into());
        }
        if !cgroup.processes()?.is_empty() {
            return Err(CgroupError::Occupied { path: cgroup.members().to_owned() }.into());
        }
        let properties = systemd::of_container(&unit, slice.as_str(), pid, resources, annotations)?;
        systemd::start(&unit, slice.as_str(), &properties)?;
        cgroup.with_limits(resources)
    }

    /// Sets limits and device rules; a failure removes the cgroup.
    fn with_limits(self, resources: Option<&LinuxResources>) -> loam_model::Result<Self> {
        let set = resources.map_or(Ok(()), |resources| self.apply(resources, MemoryNow::default()));
        match set {
            Ok(()) => Ok(self),
            Err(error) if self.unit.is_none() => {
                self.remove_now();
                Err(error.into())
            }
            Err(error) => {
                if let Err(undo) = self.remove_all() {
                    tracing::warn!("a scope is left behind: {undo}");
                }
                Err(error.into())
            }
        }
    }
}
