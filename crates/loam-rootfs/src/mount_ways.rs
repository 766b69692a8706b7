//! Which ways of mounting this host has, for people to read.

use std::path::Path;

use loam_model::IdMapping;
use loam_sys::features::{Feature, has_mount_api};
use loam_sys::kernel::{self, KernelVersion};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags};

use crate::IdMaps;

/// What was found by trying; `None` where this process lacks the rights to try. Nothing is mounted anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountWays {
    /// Layers of an overlay by descriptor.
    pub layers_by_descriptor: Option<bool>,
    /// Layers of an overlay one by one.
    pub lowerdir_plus: Option<bool>,
    /// Layers of an overlay that are idmapped mounts of the directory's file system.
    pub idmapped_mounts: Option<bool>,
}

impl MountWays {
    /// Tries them with a directory that may become a layer.
    pub fn look(directory: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::default();
        }
        if !has_mount_api() {
            let no = Some(false);
            return Self { layers_by_descriptor: no, lowerdir_plus: no, idmapped_mounts: no };
        }
        let lowerdir_plus = try_layer(directory, false).ok();
        let layers_by_descriptor = match lowerdir_plus {
            Some(true) => try_layer(directory, true).ok(),
            other => other,
        };
        // An overlay takes idmapped layers from 5.19 on, and only making one would tell.
        let overlays = lowerdir_plus == Some(true)
            || KernelVersion::parse(&kernel::release()).is_some_and(|kernel| kernel >= KernelVersion(5, 19));
        let idmapped_mounts = if overlays { try_id_mapping(directory) } else { Some(false) };
        Self { layers_by_descriptor, lowerdir_plus, idmapped_mounts }
    }
}

/// Gives a layer to an overlay that is never made.
fn try_layer(directory: &Path, by_descriptor: bool) -> Result<bool, Errno> {
    let feature = if by_descriptor { Feature::LayersByDescriptor } else { Feature::LowerdirPlus };
    if feature.is_off() {
        return Ok(false);
    }
    let layer =
        rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let given = match by_descriptor {
        true => rustix::mount::fsconfig_set_fd(&context, "lowerdir+", &layer),
        false => rustix::mount::fsconfig_set_string(&context, "lowerdir+", directory),
    };
    match given {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::BADF | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn try_id_mapping(directory: &Path) -> Option<bool> {
    if !IdMaps::are_possible() {
        return Some(false);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, directory, flags).ok()?;
    let mapping = IdMapping::contiguous(100_000, 65_536);
    IdMaps::default().apply(&mount, &mapping, false, directory).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_not_taken_where_single_layers_are_not() {
        let ways = MountWays::look(Path::new("/"));
        assert!(ways.layers_by_descriptor != Some(true) || ways.lowerdir_plus == Some(true), "{ways:?}");
        if rustix::process::geteuid().is_root() {
            assert!(ways.lowerdir_plus.is_some(), "{ways:?}");
        }
    }
}
