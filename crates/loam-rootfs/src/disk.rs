//! The disk file that holds a container's writable directories, when its size is what limits the container.
//!
//! The mount is attached to nothing: the overlay keeps it, so that file system and loop device go with the overlay,
//! also when everything here is killed.

use std::os::fd::OwnedFd;

use loam_model::{Result, RootfsPlan};

/// Mounts the disk file of a plan, if it has one, with the ids that are on it.
pub(crate) fn mount(plan: &RootfsPlan) -> Result<Option<OwnedFd>> {
    let Some(disk) = &plan.disk else { return Ok(None) };
    Ok(Some(loam_sys::mount_disk(disk, !plan.volatile)?))
}
