//! How a container's root file system and mounts are put together, before a runtime sees them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::QuotaMechanism;

/// One range of a user or group id mapping (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id in the container.
    pub container: u32,
    /// The first id on the host.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The id mapping of a container, the same for users and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The ranges; never empty, id 0 is always mapped.
    pub ranges: Vec<IdRange>,
}

impl IdMapping {
    /// One range that starts at id 0 in the container.
    pub fn contiguous(host: u32, size: u32) -> Self {
        Self { ranges: vec![IdRange { container: 0, host, size }] }
    }

    /// The host's id for an id of the container; `None` when it is not mapped.
    pub fn to_host(&self, container: u32) -> Option<u32> {
        let range =
            self.ranges.iter().find(|r| container >= r.container && container - r.container < r.size)?;
        Some(range.host + (container - range.container))
    }

    /// The text of `/proc/PID/uid_map`.
    pub fn to_map_text(&self) -> String {
        self.ranges.iter().map(|r| format!("{} {} {}\n", r.container, r.host, r.size)).collect()
    }
}

/// The disk limit of the writable directory of a root file system, by a quota of the file system that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsLimit {
    /// What enforces it; a disk file has its limit by its size instead.
    pub mechanism: QuotaMechanism,
    /// Bytes.
    pub bytes: u64,
}

/// The overlay that makes a container's root file system. Files on disk carry the container's ids; with a mapping
/// every layer is mounted idmapped (mount_setattr(2)), so that nothing is ever chown'ed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsPlan {
    /// The layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// The writable directory; `None` mounts the layers read-only.
    pub upper: Option<PathBuf>,
    /// The overlay's work directory, on the same file system as `upper`.
    pub work: Option<PathBuf>,
    /// The disk file, a file with an ext4 file system, that holds `upper` and `work`, which are then below its root.
    #[serde(default)]
    pub disk: Option<PathBuf>,
    /// The disk limit that is in force on the directory above `upper`, which whoever mounts this may raise meanwhile and sets
    /// again. `None` without one, or with a disk file.
    #[serde(default)]
    pub limit: Option<RootfsLimit>,
    /// The container's ids, when it has a user namespace.
    pub mapping: Option<IdMapping>,
    /// Whether the container is thrown away afterwards, so that nothing need ever be synced (`volatile`).
    pub volatile: bool,
}

/// Whose the files of a mount are, and so what may be done to them where ids can't be shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountOwner {
    /// The engine made them for this container: they may be given to its root.
    Container,
    /// The engine's, and the same for every container: as they are, everybody may use them.
    Engine,
    /// Somebody's on the host: not ours to change.
    Host,
}

/// A bind mount that the shim makes ready in its own mount namespace before the runtime runs, because runtimes can't
/// (idmapped, or below a directory that the container's root may not traverse).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPreparation {
    /// The path on the host.
    pub source: PathBuf,
    /// Where the shim mounts it: below the container's run directory; the bundle's mount has this path as its source.
    pub prepared: PathBuf,
    /// Whose the files are.
    pub owner: MountOwner,
    /// Whether links in the source's path are followed. A container may be able to make them.
    pub follow_links: bool,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// The ids to shift by, if any.
    pub mapping: Option<IdMapping>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_ranges_are_not_mapped() {
        let mapping = IdMapping::contiguous(100_000, 65_536);
        assert_eq!(mapping.to_host(0), Some(100_000));
        assert_eq!(mapping.to_host(65_535), Some(165_535));
        assert_eq!(mapping.to_host(65_536), None);
        assert_eq!(mapping.to_map_text(), "0 100000 65536\n");
    }
}
