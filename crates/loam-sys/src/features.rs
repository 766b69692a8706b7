//! Kernel features that are younger than the oldest kernel Loam runs on, or that a sandbox around Loam may refuse, and
//! the switch that turns them off.
//!
//! Whoever uses such a feature asks the kernel by trying it, and has another way for the case that it is refused. To
//! try those other ways on a kernel that has everything, a program's `main` hands [`turn_off`] what the environment
//! variable [`VARIABLE`] says: `LOAM_WITHOUT=cgroup.kill,openat2 loam run …`. It is a developers' switch: `loam` hands
//! it on to its shims, and no container ever sees it.

mod probes;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

pub use probes::{has_clone3, has_mount_api, has_openat2, has_pidfd};

/// The environment variable that turns features off: names with commas between them.
pub const VARIABLE: &str = "LOAM_WITHOUT";

/// A kernel feature that can be turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `open_tree`, `fsopen`, `fsconfig`, `fsmount`, `move_mount` (Linux 5.2) and `mount_setattr` (Linux 5.12): mounts
    /// by descriptor.
    MountApi,
    /// Overlay layers given by descriptor (Linux 6.15).
    LayersByDescriptor,
    /// Overlay layers given one by one (`lowerdir+`, Linux 6.7); without it neither are they given by descriptor.
    LowerdirPlus,
    /// Idmapped mounts as the layers of an overlay (Linux 5.19) and of volumes (Linux 5.12).
    IdmappedMounts,
    /// `cgroup.kill` of cgroup version 2 (Linux 5.14): kills all processes of a cgroup at once.
    CgroupKill,
    /// `openat2` (Linux 5.6): resolves a path beneath a directory.
    Openat2,
    /// `pidfd_open` and `pidfd_send_signal` (Linux 5.3): a process by descriptor.
    Pidfd,
    /// `clone3` (Linux 5.3): a process that starts in its cgroup.
    Clone3,
}

/// Those that are turned off, a bit each.
static OFF: AtomicU32 = AtomicU32::new(0);

impl Feature {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::MountApi,
        Self::LayersByDescriptor,
        Self::LowerdirPlus,
        Self::IdmappedMounts,
        Self::CgroupKill,
        Self::Openat2,
        Self::Pidfd,
        Self::Clone3,
    ];

    /// Its name in [`VARIABLE`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MountApi => "mount-api",
            Self::LayersByDescriptor => "layer-descriptors",
            Self::LowerdirPlus => "lowerdir+",
            Self::IdmappedMounts => "idmapped-mounts",
            Self::CgroupKill => "cgroup.kill",
            Self::Openat2 => "openat2",
            Self::Pidfd => "pidfd",
            Self::Clone3 => "clone3",
        }
    }

    /// Whether it is turned off in this process.
    pub fn is_off(self) -> bool {
        OFF.load(Ordering::Relaxed) & self.bit() != 0
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A name that no feature has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` in `{VARIABLE}` is no kernel feature", .0.escape_default())]
pub struct UnknownFeature(String);

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(name: &str) -> Result<Self, UnknownFeature> {
        let found = Self::ALL.into_iter().find(|feature| feature.as_str() == name);
        found.ok_or_else(|| UnknownFeature(name.to_owned()))
    }
}

/// Turns features off for the rest of this process's life: a list of names with commas between them.
///
/// # Errors
/// A name that no feature has; nothing is turned off then.
pub fn turn_off(list: &str) -> Result<(), UnknownFeature> {
    let bits = parse(list)?.into_iter().fold(0, |bits, feature| bits | feature.bit());
    OFF.fetch_or(bits, Ordering::Relaxed);
    Ok(())
}

/// What is turned off, as [`turn_off`] takes it; empty for nothing.
pub fn turned_off() -> String {
    let off = Feature::ALL.into_iter().filter(|feature| feature.is_off());
    off.map(Feature::as_str).collect::<Vec<_>>().join(",")
}

fn parse(list: &str) -> Result<Vec<Feature>, UnknownFeature> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_known_features_only() {
        assert_eq!(parse("openat2, cgroup.kill,,"), Ok(vec![Feature::Openat2, Feature::CgroupKill]));
        assert_eq!(parse(""), Ok(vec![]));
        assert!(Feature::ALL.into_iter().all(|feature| feature.to_string().parse() == Ok(feature)));
        for name in ["openat3", "OPENAT2"] {
            let error = parse(&format!("openat2,{name}")).unwrap_err();
            assert_eq!(error.to_string(), format!("`{name}` in `LOAM_WITHOUT` is no kernel feature"));
        }
    }

    #[test]
    fn nothing_is_off_unless_it_is_named() {
        assert_eq!(turned_off(), "");
        assert!(turn_off("openat2,openat3").is_err());
        assert!(Feature::ALL.into_iter().all(|feature| !feature.is_off()));
        // Every feature has a bit of its own.
        assert_eq!(Feature::ALL.into_iter().fold(0, |bits, feature| bits | feature.bit()).count_ones(), 8);
    }
}
