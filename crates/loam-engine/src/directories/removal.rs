//! Removing a directory with all that is in it.
//!
//! Removal never follows a symbolic link and never crosses into a mount (openat2(2), `RESOLVE_NO_XDEV`): a shim mounts
//! volumes of the host below the run directory, in a mount namespace of its own; should such a mount ever be seen from
//! here, its contents are not ours.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use loam_model::Result;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, unlinkat};
use rustix::io::Errno;

use super::failure;

/// Removes the directory `name` in `parent` with all that is in it; entries named in `keep` stay, and then the
/// directory too.
pub(super) fn remove(parent: &Path, name: &str, keep: &[&str]) -> Result<()> {
    let attempt = || -> rustix::io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(parent) = present(openat(CWD, parent, flags, Mode::empty()))? else { return Ok(()) };
        let Some(directory) = present(open_below(parent.as_fd(), name))? else { return Ok(()) };
        remove_contents(&directory, keep)?;
        if keep.is_empty() {
            present(unlinkat(&parent, name, AtFlags::REMOVEDIR))?;
        }
        Ok(())
    };
    attempt().map_err(|errno| failure(&parent.join(name), "can't be removed", errno.into()))
}

fn remove_contents(directory: &OwnedFd, keep: &[&str]) -> rustix::io::Result<()> {
    let entries: Vec<_> = Dir::read_from(directory)?.collect::<rustix::io::Result<_>>()?;
    for entry in entries {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..")
            || keep.iter().any(|kept| kept.as_bytes() == name.to_bytes())
        {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => remove_directory(directory, name)?,
            _ => drop(present(unlinkat(directory, name, AtFlags::empty()))?),
        }
    }
    Ok(())
}

fn remove_directory(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    if let Some(directory) = present(open_below(parent.as_fd(), name))? {
        remove_contents(&directory, &[])?;
        present(unlinkat(parent, name, AtFlags::REMOVEDIR))?;
    }
    Ok(())
}

fn open_below<P: rustix::path::Arg + Copy>(parent: BorrowedFd<'_>, name: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    loam_sys::openat2(parent, name, flags, Mode::empty(), resolve)
}

/// Makes nothing out of a thing that is not there.
fn present<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
