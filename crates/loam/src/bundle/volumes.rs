//! The image's volumes: directories of the bundle, filled with what the image has there (image specification,
//! conversion.md, note on `Config.Volumes`).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::oci_spec::runtime::{Mount, MountBuilder};
use loam_model::{ErrorKind, Failure, ImageTrees, shown};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Unfinished;

/// Makes a directory and a mount for each volume.
pub(super) fn make(
    trees: &dyn ImageTrees,
    place: &Unfinished,
    root: &OwnedFd,
    volumes: &[String],
) -> Result<Vec<Mount>, Failure> {
    let mut mounts = Vec::with_capacity(volumes.len());
    if !volumes.is_empty() {
        drop(place.directory("volumes")?);
    }
    for (volume, number) in volumes.iter().zip(1_u32..) {
        if !volume.starts_with('/') || volume.contains('\0') || Path::new(volume) == Path::new("/") {
            let message = format!("the image's volume `{}` is not a path below its root", shown(volume));
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        // Relative to the bundle (runtime specification, config.md, "Mounts").
        let name = format!("volumes/{number}");
        let directory = place.directory(&name)?;
        fill(trees, root, volume, &directory)?;
        let options = ["rbind", "rprivate", "nosuid", "nodev"].map(str::to_owned).to_vec();
        let mount = MountBuilder::default().destination(volume).typ("bind").source(name).options(options);
        mounts.push(mount.build().expect("every member of a mount has a default"));
    }
    // Parents first.
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

/// Copies what the image has at the place of a volume.
fn fill(trees: &dyn ImageTrees, root: &OwnedFd, volume: &str, directory: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match loam_sys::open_in_root(root, volume, flags, ResolveFlags::empty()) {
        Ok(found) => trees.copy_directory(found.as_fd(), directory.as_fd()),
        Err(Errno::NOENT) => {
            rustix::fs::fchmod(directory, Mode::from_raw_mode(0o755)).map_err(|errno| unfilled(volume, errno))
        }
        Err(errno) => Err(unfilled(volume, errno)),
    }
}

fn unfilled(volume: &str, errno: Errno) -> Failure {
    let message = format!("the image's volume `{}` can't be copied", shown(volume));
    Failure::new(ErrorKind::of_io(&errno.into()), message).caused_by(errno)
}
