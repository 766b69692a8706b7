//! The directories of a plan, for whoever mounts the overlay by itself and knows paths only.
//!
//! Where the ids are shifted, or the writable directories lie in a disk file, the paths of a plan are not what an overlay
//! can be made of. Then mounts below a directory of the caller's are: `layers`, with the container's ids, `writable`
//! likewise, and `disk`. They stay until [`unmount_all`](crate::unmount_all) is called for each of [`MOUNT_POINTS`].

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result, RootfsPlan};
use rustix::io::Errno;

use crate::layers::{check, clone_mount, common_ancestor};
use crate::{IdMaps, disk, kind_of, move_to, unmount_all};

/// What may be mounted below the directory.
pub const MOUNT_POINTS: [&str; 3] = ["disk", "writable", "layers"];

/// Mounts below `directory`, which has to be there, what the plan needs, and gives a plan whose paths anybody can put into
/// the options of an overlay. Nothing is mounted when that fails.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where ids are to be shifted and the kernel or the file system can't.
pub fn expose(plan: &RootfsPlan, maps: &mut IdMaps, directory: &Path) -> Result<RootfsPlan> {
    check(plan)?;
    let exposed = try_expose(plan, maps, directory);
    if exposed.is_err() {
        for name in MOUNT_POINTS {
            // The failure that counts is the one before.
            unmount_all(&directory.join(name)).ok();
        }
    }
    exposed
}

fn try_expose(plan: &RootfsPlan, maps: &mut IdMaps, directory: &Path) -> Result<RootfsPlan> {
    // Somebody else mounts it, later: no room is made for that.
    let mut exposed = RootfsPlan { disk: None, limit: None, mapping: None, ..plan.clone() };
    if plan.mapping.is_some() {
        exposed.lower = moved(&plan.lower, plan, maps, &directory.join("layers"))?;
    }
    let writable: Vec<PathBuf> = plan.upper.iter().chain(&plan.work).cloned().collect();
    let writable = if let Some(mount) = disk::mount(plan)? {
        let target = directory.join("disk");
        shift(&mount, plan, maps, &target)?;
        attach(&mount, &target)?;
        writable.iter().map(|name| target.join(name)).collect()
    } else if plan.mapping.is_some() && !writable.is_empty() {
        moved(&writable, plan, maps, &directory.join("writable"))?
    } else {
        return Ok(exposed);
    };
    let mut writable = writable.into_iter();
    (exposed.upper, exposed.work) = (writable.next(), writable.next());
    Ok(exposed)
}

/// Mounts the directory that holds these at `target`, with the container's ids, and gives their paths there.
fn moved(paths: &[PathBuf], plan: &RootfsPlan, maps: &mut IdMaps, target: &Path) -> Result<Vec<PathBuf>> {
    let top = common_ancestor(paths.iter().map(PathBuf::as_path));
    let mount = clone_mount(top).map_err(|errno| refused(top, errno))?;
    shift(&mount, plan, maps, top)?;
    attach(&mount, target)?;
    let below = |path: &PathBuf| {
        let rest = path.strip_prefix(top).expect("an ancestor is a prefix");
        if rest.as_os_str().is_empty() { target.to_owned() } else { target.join(rest) }
    };
    Ok(paths.iter().map(below).collect())
}

fn shift(mount: &OwnedFd, plan: &RootfsPlan, maps: &mut IdMaps, path: &Path) -> Result<()> {
    let Some(mapping) = &plan.mapping else { return Ok(()) };
    if maps.apply(mount, mapping, false, path)? {
        return Ok(());
    }
    let message = format!(
        "`{}` can't be mounted with shifted ids: its file system or this kernel has no idmapped mounts",
        path.display()
    );
    Err(Failure::new(ErrorKind::Unsupported, message).hint("have the root file system mounted instead"))
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let message = format!("`{}` can't be made", target.display());
            return Err(Failure::new(ErrorKind::of_io(&error), message).caused_by(error));
        }
        _ => {}
    }
    move_to(mount, target).map_err(|errno| refused(target, errno))
}

fn refused(path: &Path, errno: Errno) -> Failure {
    Failure::new(kind_of(errno), format!("`{}` can't be mounted", path.display())).caused_by(errno)
}
