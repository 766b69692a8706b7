//! A watch on the names in a directory (inotify(7)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// A watch.
#[derive(Debug)]
pub(super) struct Names {
    watch: OwnedFd,
}

impl Names {
    /// Watches a directory; `None` where the kernel allows no more watches.
    pub(super) fn watch(directory: &Path) -> Option<Self> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
        let changes = WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&watch, directory, changes).ok()?;
        Some(Self { watch })
    }

    /// Takes in all that was told so far.
    pub(super) fn forget(&self) {
        let mut buffer = [0; 4096];
        while matches!(rustix::io::read(&self.watch, &mut buffer), Ok(1..) | Err(rustix::io::Errno::INTR)) {}
    }
}

impl AsFd for Names {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
