//! The disk image that holds a container's writable directories, when its size is what limits the container.
//!
//! The mount is attached to nothing: the overlay keeps it, so that file system and loop device go with the overlay, also
//! when everything here is killed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result, RootfsPlan};
use rustix::io::Errno;

use super::kind_of;

/// Mounts the image of a plan, if it has one, with the ids that are on it.
pub(super) fn mount(plan: &RootfsPlan) -> Result<Option<OwnedFd>> {
    let mount = |image: &PathBuf| {
        loam_sys::mount_image(image, !plan.volatile).map_err(|error| failure(image, &error))
    };
    plan.image.as_ref().map(mount).transpose()
}

fn failure(image: &Path, error: &std::io::Error) -> Failure {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let message = format!("the disk `{}` can't be mounted", image.display());
    if error.kind() == std::io::ErrorKind::ResourceBusy {
        return Failure::new(ErrorKind::Conflict, format!("the disk `{}` is in use", image.display()));
    }
    match errno {
        // The file was there when the plan was made.
        Errno::NOENT | Errno::NXIO if image.exists() => Failure::new(ErrorKind::Unsupported, message)
            .caused_by("this machine gives no loop device")
            .hint("load the kernel's module `loop`"),
        errno => Failure::new(kind_of(errno), message).caused_by(errno),
    }
}
