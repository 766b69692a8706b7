//! The kernel features that have another way, and which way is taken here.

use loam_sys::features::{Feature, has_clone3, has_mount_api, has_openat2, has_pidfd};
use serde::Serialize;

use crate::wiring::{HostReport, MountWays};

/// Which way is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// The kernel has the feature.
    Available,
    /// The kernel does not have it, or a sandbox refuses it.
    Fallback,
    /// `LOAM_WITHOUT` turns it off.
    TurnedOff,
    /// Only root can find out.
    Unknown,
}

/// One feature.
#[derive(Debug, Serialize)]
pub(super) struct FeatureState {
    name: &'static str,
    state: State,
    /// What is done without it.
    otherwise: &'static str,
}

/// Looks at all of them.
pub(super) fn look(report: &HostReport, ways: &MountWays) -> Vec<FeatureState> {
    let has = |feature| match feature {
        // The kernel refuses them to those who may not mount.
        Feature::MountApi => rustix::process::geteuid().is_root().then(has_mount_api),
        Feature::LayersByDescriptor => ways.layers_by_descriptor,
        Feature::LowerdirPlus => ways.lowerdir_plus,
        Feature::IdmappedMounts => ways.idmapped_mounts,
        Feature::CgroupKill => report.cgroup_kill,
        Feature::Openat2 => Some(has_openat2()),
        Feature::Pidfd => Some(has_pidfd()),
        Feature::Clone3 => Some(has_clone3()),
    };
    Feature::ALL.into_iter().map(|feature| FeatureState::new(feature, has(feature))).collect()
}

/// What is done without a feature.
fn otherwise(feature: Feature) -> &'static str {
    match feature {
        Feature::MountApi => "another runtime is needed, such as crun",
        Feature::LayersByDescriptor => "layers are given by path",
        Feature::LowerdirPlus => "all layers in one string, at most 250",
        Feature::IdmappedMounts => "owners are changed at the first start",
        Feature::CgroupKill => "processes are frozen and killed one by one",
        Feature::Openat2 => "paths are walked name by name",
        Feature::Pidfd => "processes are known by id and start time",
        Feature::Clone3 => "processes are moved into their cgroup",
    }
}

impl FeatureState {
    fn new(feature: Feature, has: Option<bool>) -> Self {
        let state = match has {
            _ if feature.is_off() => State::TurnedOff,
            Some(true) => State::Available,
            Some(false) => State::Fallback,
            None => State::Unknown,
        };
        Self { name: feature.as_str(), state, otherwise: otherwise(feature) }
    }

    /// The name, and in words what is done.
    pub(super) fn row(&self) -> (&'static str, String) {
        let words = match self.state {
            State::Available => "available".to_owned(),
            State::Fallback => format!("not available: {}", self.otherwise),
            State::TurnedOff => format!("turned off: {}", self.otherwise),
            State::Unknown => "unknown: only root can find out".to_owned(),
        };
        (self.name, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_said() {
        let report = HostReport { cgroup_kill: Some(false), ..HostReport::look() };
        let ways =
            MountWays { lowerdir_plus: Some(true), layers_by_descriptor: Some(false), idmapped_mounts: None };
        let rows: Vec<_> = look(&report, &ways).iter().map(FeatureState::row).collect();
        assert_eq!(rows.len(), Feature::ALL.len());
        for (name, words) in [
            ("layer-descriptors", "not available: layers are given by path"),
            ("lowerdir+", "available"),
            ("idmapped-mounts", "unknown: only root can find out"),
            ("cgroup.kill", "not available: processes are frozen and killed one by one"),
        ] {
            assert!(rows.contains(&(name, words.to_owned())), "{rows:?}");
        }
    }
}
