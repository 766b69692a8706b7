//! Paths that the container may not see, or not write to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::MountChange;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::device_plan::{attach, make_file_system};
use super::explain::Explain;
use super::options::{MountOptions, attribute};
use super::root::{file_type, find};
use crate::character_device::{NULL, is_character_device};

/// Makes paths read-only with all mounts below. Those that do not exist are left out.
pub(super) fn make_read_only(root: BorrowedFd<'_>, paths: &[String]) -> Result<()> {
    for path in paths {
        let failed = || format!("making `{path}` read-only failed");
        let Some(target) = existing(root, path).explain(failed)? else { continue };
        let tree = clone(target.as_fd(), true).explain(failed)?;
        let change = MountChange { set: attribute::READ_ONLY, recursive: true, ..MountChange::default() };
        loam_sys::change_mount(tree.as_fd(), &change).explain(failed)?;
        attach(tree.as_fd(), target.as_fd()).explain(failed)?;
    }
    Ok(())
}

/// Covers paths: files with `/dev/null`, directories with an empty one. Those that do not exist are left out.
pub(super) fn mask(root: BorrowedFd<'_>, paths: &[String]) -> Result<()> {
    let (mut null, mut empty): (Option<OwnedFd>, Option<OwnedFd>) = (None, None);
    for path in paths {
        let failed = || format!("masking `{path}` failed");
        let Some(target) = existing(root, path).explain(failed)? else { continue };
        if file_type(target.as_fd()).explain(failed)? != FileType::Directory {
            let source = match &null {
                Some(null) => null,
                None => null.insert(open_null(root)?),
            };
            let cover = clone(source.as_fd(), false).explain(failed)?;
            attach(cover.as_fd(), target.as_fd()).explain(failed)?;
            continue;
        }
        match &empty {
            // One empty file system serves for all.
            Some(empty) => {
                let cover = clone(empty.as_fd(), false).explain(failed)?;
                attach(cover.as_fd(), target.as_fd()).explain(failed)?;
            }
            None => {
                let made = make_file_system("tmpfs", "tmpfs", &empty_options(), None).explain(failed)?;
                attach(made.as_fd(), target.as_fd()).explain(failed)?;
                empty = Some(made);
            }
        }
    }
    Ok(())
}

fn existing(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match find(root, Path::new(path)) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens the container's `/dev/null`. Whoever made the image may have put something else there, which would then be
/// bound, writable, over what shall be hidden.
fn open_null(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let opening = || "opening `/dev/null` in the container failed".to_owned();
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let null = loam_sys::open_in_root(root, "/dev/null", flags, ResolveFlags::empty()).explain(opening)?;
    if !is_character_device(null.as_fd(), NULL).explain(opening)? {
        let message = "`/dev/null` in the container is not the null device";
        return Err(Failure::new(ErrorKind::Denied, message));
    }
    Ok(null)
}

fn clone(mount: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(mount, "", flags)
}

fn empty_options() -> MountOptions {
    let mut options = MountOptions::default();
    options.here.set = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEV | attribute::NO_EXEC;
    for (key, value) in [("mode", "755"), ("size", "4k"), ("nr_inodes", "2")] {
        options.data.push((key.to_owned(), Some(value.to_owned())));
    }
    options
}

/// Opens the host's proc file system, through which this process's own attributes and sysctls are written. What the
/// container mounts at `/proc` is never trusted with that.
pub(super) fn open_host_proc() -> Result<OwnedFd> {
    let opening = || "opening `/proc` failed".to_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty()).explain(opening)?;
    if !super::root::is_on(proc.as_fd(), super::root::magic::PROC).explain(opening)? {
        return Err(Failure::new(ErrorKind::Unsupported, "`/proc` is not the proc file system"));
    }
    Ok(proc)
}
