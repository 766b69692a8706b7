//! The kernel features that have another way, and which way is taken here.

use loam_sys::features::{self, has_mount_api, has_openat2, has_pidfd};
use loam_sys::kernel::KernelVersion;
use serde::Serialize;

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
}

/// One feature.
#[derive(Debug, Serialize)]
pub(super) struct FeatureState {
    name: &'static str,
    state: State,
    /// What is done without it.
    otherwise: &'static str,
}

/// Looks at all of them on a kernel of this version; `unified` says whether cgroups are those of version 2.
pub(super) fn look(kernel: Option<KernelVersion>, unified: bool) -> Vec<FeatureState> {
    let since = |major, minor| kernel.is_some_and(|kernel| kernel >= KernelVersion(major, minor));
    let feature = |name, has: bool, otherwise| FeatureState {
        name,
        state: match (features::is_off(name), has) {
            (true, _) => State::TurnedOff,
            (false, true) => State::Available,
            (false, false) => State::Fallback,
        },
        otherwise,
    };
    let mounts = has_mount_api();
    vec![
        feature(features::MOUNT_API, mounts, "another runtime is needed, such as crun"),
        feature(features::LAYERS_BY_DESCRIPTOR, mounts && since(6, 15), "layers are given by path"),
        feature(features::LOWERDIR_PLUS, mounts && since(6, 7), "all layers in one string, at most 250"),
        feature(features::IDMAPPED_MOUNTS, mounts && since(5, 19), "owners are changed at the first start"),
        feature(features::CGROUP_KILL, unified && since(5, 14), "processes are frozen and killed one by one"),
        feature(features::OPENAT2, has_openat2(), "paths are walked name by name"),
        feature(features::PIDFD, has_pidfd(), "processes are known by id and start time"),
    ]
}

impl FeatureState {
    /// The name, and in words what is done.
    pub(super) fn row(&self) -> (&'static str, String) {
        let words = match self.state {
            State::Available => "available".to_owned(),
            State::Fallback => format!("not available: {}", self.otherwise),
            State::TurnedOff => format!("turned off: {}", self.otherwise),
        };
        (self.name, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_kernel_has_fewer() {
        let lacking = |kernel: Option<KernelVersion>| {
            let states = look(kernel, true).into_iter().filter(|feature| feature.state == State::Fallback);
            states.map(|feature| feature.name).collect::<Vec<_>>()
        };
        assert_eq!(lacking(Some(KernelVersion(6, 18))), [""; 0]);
        assert_eq!(lacking(Some(KernelVersion(6, 1))), ["layer-descriptors", "lowerdir+"]);
        assert_eq!(
            lacking(Some(KernelVersion(5, 15))),
            ["layer-descriptors", "lowerdir+", "idmapped-mounts"]
        );
        assert_eq!(look(None, false).len(), features::ALL.len());
    }
}
