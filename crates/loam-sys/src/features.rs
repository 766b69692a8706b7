//! Kernel features that are younger than the oldest kernel Loam runs on, or that a sandbox around Loam may refuse, and
//! the switch that turns them off.
//!
//! Whoever uses such a feature asks the kernel by trying it, and has another way for the case that it is refused. To
//! try those other ways on a kernel that has everything, the environment variable `LOAM_WITHOUT` names features that
//! are treated as refused: `LOAM_WITHOUT=cgroup.kill,openat2 loam run …`. It is a developers' switch: `loam` hands it
//! on to its shims, and no container ever sees it.

use std::sync::OnceLock;

/// The environment variable that turns features off: names of [`ALL`], with commas between them.
pub const VARIABLE: &str = "LOAM_WITHOUT";

/// `fsopen`, `fsconfig`, `open_tree`, `move_mount` (Linux 5.2): mounts by descriptor.
pub const MOUNT_API: &str = "mount-api";
/// Overlay layers given by descriptor (Linux 6.15).
pub const LAYERS_BY_DESCRIPTOR: &str = "layer-descriptors";
/// Overlay layers given one by one (`lowerdir+`, Linux 6.7); without it neither are they given by descriptor.
pub const LOWERDIR_PLUS: &str = "lowerdir+";
/// Idmapped mounts as the layers of an overlay (Linux 5.19) and of volumes (Linux 5.12).
pub const IDMAPPED_MOUNTS: &str = "idmapped-mounts";
/// `cgroup.kill` of cgroup version 2 (Linux 5.14): kills all processes of a cgroup at once.
pub const CGROUP_KILL: &str = "cgroup.kill";
/// `openat2` (Linux 5.6): resolves a path beneath a directory.
pub const OPENAT2: &str = "openat2";
/// `pidfd_open` and `pidfd_send_signal` (Linux 5.3): a process by descriptor.
pub const PIDFD: &str = "pidfd";

/// The features that can be turned off.
pub const ALL: [&str; 7] =
    [MOUNT_API, LAYERS_BY_DESCRIPTOR, LOWERDIR_PLUS, IDMAPPED_MOUNTS, CGROUP_KILL, OPENAT2, PIDFD];

/// Whether a feature of [`ALL`] is turned off. The environment is read once.
pub fn is_off(name: &str) -> bool {
    debug_assert!(ALL.contains(&name), "the feature `{name}` is not in the list");
    static OFF: OnceLock<Vec<String>> = OnceLock::new();
    OFF.get_or_init(|| names(&value()).map(str::to_owned).collect()).iter().any(|off| off == name)
}

/// What the environment turns off, to be handed on to a program that is to do the same; empty for nothing.
pub fn value() -> String {
    std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A name in [`VARIABLE`] that is none of [`ALL`], if there is one.
pub fn unknown_name() -> Option<String> {
    first_unknown(&value()).map(str::to_owned)
}

fn first_unknown(list: &str) -> Option<&str> {
    names(list).find(|name| !ALL.contains(name))
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_known_features_only() {
        assert_eq!(first_unknown("openat2, cgroup.kill,,"), None);
        assert_eq!(first_unknown(""), None);
        assert_eq!(first_unknown("openat2,openat3"), Some("openat3"));
        assert_eq!(first_unknown("OPENAT2"), Some("OPENAT2"));
    }

    #[test]
    fn nothing_is_off_unless_it_is_named() {
        // The tests run without the variable.
        assert!(value().is_empty());
        assert!(ALL.iter().all(|name| !is_off(name)));
        assert_eq!(unknown_name(), None);
    }
}
