//! Mounts that the shim makes ready for the runtime.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use loam_model::{ErrorKind, Failure, MountPreparation, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::overlay::move_to;
use super::{IdMaps, kind_of};

/// Makes one prepared mount below the run directory.
pub(crate) fn prepare(preparation: &MountPreparation, run_directory: &Path, maps: &mut IdMaps) -> Result<()> {
    let MountPreparation { source, prepared, follow_links, recursive, mapping } = preparation;
    let inside = prepared
        .strip_prefix(run_directory)
        .is_ok_and(|below| below.components().all(|part| matches!(part, std::path::Component::Normal(_))));
    if !inside {
        let message = format!("`{}` is not below the container's run directory", prepared.display());
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let refused = |errno: Errno| {
        if errno == Errno::LOOP && !follow_links {
            let message = format!(
                "`{}` is not mounted: a link has taken the place of a part of its path",
                source.display()
            );
            return Failure::new(ErrorKind::Conflict, message)
                .hint("remove the container and make it again if that is right");
        }
        let message = format!("`{}` can't be mounted into the container", source.display());
        Failure::new(kind_of(errno), message).caused_by(errno)
    };
    let mount = clone_mount(source, *follow_links, *recursive).map_err(refused)?;
    if let Some(mapping) = mapping {
        maps.apply(&mount, mapping, *recursive, source)?;
    }
    let status = rustix::fs::fstat(&mount).map_err(refused)?;
    let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
    make_target(prepared, is_directory).map_err(|error| {
        let message = format!("`{}` can't be made", prepared.display());
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    })?;
    move_to(&mount, prepared).map_err(refused)
}

fn clone_mount(source: &Path, follow_links: bool, recursive: bool) -> std::result::Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if follow_links {
        return rustix::mount::open_tree(CWD, source, flags);
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    rustix::mount::open_tree(&found, "", flags | OpenTreeFlags::AT_EMPTY_PATH)
}

fn make_target(path: &Path, is_directory: bool) -> std::io::Result<()> {
    let directory = if is_directory { Some(path) } else { path.parent() };
    if let Some(directory) = directory {
        // The container's root passes through.
        DirBuilder::new().recursive(true).mode(0o711).create(directory)?;
    }
    if !is_directory {
        std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    }
    Ok(())
}
