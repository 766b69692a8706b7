//! Mounts that the shim makes ready for the runtime.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use loam_model::{ErrorKind, Failure, IdMapping, MountOwner, MountPreparation, Result};
use loam_rootfs::{IdMaps, kind_of, move_to};
use loam_sys::features::has_mount_api;
use loam_sys::magic_link;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

/// Makes one prepared mount below the run directory.
pub(crate) fn prepare(preparation: &MountPreparation, run_directory: &Path, maps: &mut IdMaps) -> Result<()> {
    let MountPreparation { source, prepared, owner, follow_links, recursive, mapping } = preparation;
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
    let found = find(source, *follow_links).map_err(refused)?;
    let mount = match !has_mount_api() {
        true => None,
        false => Some(clone_mount(&found, *recursive).map_err(refused)?),
    };
    if let Some(mapping) = mapping {
        let shifted = match &mount {
            Some(mount) => maps.apply(mount, mapping, *recursive, source)?,
            None => false,
        };
        if !shifted {
            do_without_shift(source, *owner, &found, mapping)?;
        }
    }
    let status = rustix::fs::fstat(&found).map_err(refused)?;
    let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
    make_target(prepared, is_directory).map_err(|error| {
        let message = format!("`{}` can't be made", prepared.display());
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    })?;
    let mounted = match mount {
        Some(mount) => move_to(&mount, prepared),
        None if *recursive => rustix::mount::mount_bind_recursive(magic_link(&found), prepared),
        None => rustix::mount::mount_bind(magic_link(&found), prepared),
    };
    mounted.map_err(refused)
}

/// Makes the best of a mount whose ids can't be shifted.
fn do_without_shift(source: &Path, owner: MountOwner, found: &OwnedFd, mapping: &IdMapping) -> Result<()> {
    if owner == MountOwner::Host {
        let message = format!(
            "`{}` can't be mounted with shifted ids: its file system, one that is mounted below it, or this kernel has no \
             idmapped mounts",
            source.display()
        );
        return Err(Failure::new(ErrorKind::Unsupported, message)
            .hint("mount it with the option `noidmap`, or use `--userns host`"));
    }
    let Some(root) = mapping.to_host(0).filter(|_| owner == MountOwner::Container) else { return Ok(()) };
    let (user, group) = (Uid::from_raw(root), Gid::from_raw(root));
    rustix::fs::chownat(found, "", Some(user), Some(group), AtFlags::EMPTY_PATH).map_err(|errno| {
        let message = format!("`{}` can't be given to the container's root", source.display());
        Failure::new(kind_of(errno), message).caused_by(errno)
    })
}

fn find(source: &Path, follow_links: bool) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if follow_links {
        return rustix::fs::open(source, flags, Mode::empty());
    }
    let top = rustix::fs::open("/", flags | OFlags::DIRECTORY, Mode::empty())?;
    loam_sys::open_in_root(&top, source, flags, ResolveFlags::NO_SYMLINKS)
}

fn clone_mount(found: &OwnedFd, recursive: bool) -> std::result::Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(found, "", flags)
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
