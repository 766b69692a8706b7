//! Resolving a path beneath a directory.

mod walk;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

use crate::features::{self, Feature};

/// How often a path is resolved anew when something was renamed meanwhile. Somebody who renames without end gets the
/// caller EAGAIN, not an endless loop.
const MAX_TRIES: u32 = 128;

/// Opens a path as a process sees it whose root directory is `root` (openat2(2), `RESOLVE_IN_ROOT`): neither a link nor
/// `..` leads out of it, and no link of `/proc` is followed. `how` restricts further; the descriptor is close-on-exec.
///
/// # Errors
/// The kernel's; `AGAIN` when the tree changes faster than it can be walked.
pub fn open_in_root(
    root: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let how = how | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..MAX_TRIES {
        match openat2(&root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The absolute path of a file or directory that whoever calls Loam names, which need not be there yet. One that is a link is
/// followed, once and here: what is opened below it, or made beside it, is taken as what it is.
///
/// # Errors
/// The path is empty, or relative to a working directory that is gone.
#[expect(clippy::disallowed_methods, reason = "the path itself is the caller's word")]
pub fn follow_link(path: &Path) -> std::io::Result<PathBuf> {
    // By its components, as `link/` would look like what it leads to.
    let path: PathBuf = std::path::absolute(path)?.components().collect();
    let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    let followed = is_link.then(|| std::fs::canonicalize(&path).ok()).flatten();
    Ok(followed.unwrap_or(path))
}

/// Opens a path relative to `root` with restrictions on its resolution (openat2(2)). Where that call is refused, the
/// path is walked name by name with the same result; `how` must then contain `IN_ROOT` or `BENEATH`.
///
/// # Errors
/// The kernel's; `AGAIN` when something was renamed meanwhile; `NOSYS` when the path can't be walked as `how` says.
#[expect(clippy::disallowed_methods, reason = "this is the one that others are to call")]
pub fn openat2(
    root: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> Result<OwnedFd> {
    if !Feature::Openat2.is_off() {
        match rustix::fs::openat2(&root, path, flags, mode, how) {
            // The answer of an older kernel; or that of a sandbox, or to who may not open the file.
            Err(Errno::NOSYS | Errno::PERM) if is_refused() => {}
            other => return other,
        }
    }
    path.into_with_c_str(|path| walk::open(root.as_fd(), path.to_bytes(), flags, mode, how))
}

/// Whether openat2(2) is refused whatever is opened.
fn is_refused() -> bool {
    static REFUSED: OnceLock<bool> = OnceLock::new();
    *REFUSED.get_or_init(|| !features::has_openat2())
}

/// The mount that an open file is on.
fn mount_of(file: BorrowedFd<'_>) -> Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    Ok(statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
mod tests;
