//! Resolving a path of a container beneath its root.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

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
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
