//! The terminal of a process: a pseudo-terminal of the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loam_model::{ErrorKind, Failure, Result, TerminalSize};
use loam_sys::open_in_root;
use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::device_plan::attach;
use super::explain::Explain;
use super::root::{file_type, is_on, magic};
use crate::character_device::{TERMINAL_MAKER, is_character_device};

/// Both ends of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    pub(super) slave: OwnedFd,
}

impl Terminal {
    /// Opens a new terminal beneath `root`, a container's `/`. What the container may have put in the place of devpts or
    /// its multiplexer is refused before it is opened.
    pub(super) fn open(root: BorrowedFd<'_>, size: TerminalSize) -> Result<Self> {
        let failed = || "opening a terminal in the container failed".to_owned();
        let strange = || Failure::new(ErrorKind::Denied, "`/dev/pts` of the container is not devpts");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let how = ResolveFlags::NO_SYMLINKS;
        let pts = open_in_root(root, "dev/pts", flags, how).explain(failed)?;
        if !is_on(pts.as_fd(), magic::DEVPTS).explain(failed)? {
            return Err(strange());
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let master = open_in_root(&pts, "ptmx", flags, how).explain(failed)?;
        if !is_character_device(master.as_fd(), TERMINAL_MAKER).explain(failed)? {
            return Err(strange());
        }
        rustix::pty::unlockpt(&master).explain(failed)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).explain(failed)?;
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).explain(failed)?;
        Ok(Self { master, slave })
    }

    /// Makes it the terminal that this process's session is controlled by, and its standard streams; `user` owns it.
    pub(super) fn take(&self, user: u32) -> Result<()> {
        let failed = || "taking the terminal failed".to_owned();
        rustix::process::ioctl_tiocsctty(&self.slave).explain(failed)?;
        rustix::fs::fchown(&self.slave, Some(Uid::from_raw(user)), None::<Gid>).explain(failed)?;
        let slave = self.slave.as_fd();
        set_streams(slave, slave, slave).explain(failed)
    }

    /// Shows it as `/dev/console`.
    pub(super) fn show_as_console(&self, root: BorrowedFd<'_>) -> Result<()> {
        let failed = || "making `/dev/console` failed".to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let how = ResolveFlags::NO_SYMLINKS;
        let dev = open_in_root(root, "dev", flags, how).explain(failed)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dev, "console", flags, Mode::from_raw_mode(0o600)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).explain(failed),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let console = rustix::fs::openat(&dev, "console", flags, Mode::empty()).explain(failed)?;
        if file_type(console.as_fd()).explain(failed)? == FileType::Symlink {
            let message = "`/dev/console` of the image is a symbolic link";
            return Err(Failure::new(ErrorKind::Denied, message));
        }
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let mount = rustix::mount::open_tree(&self.slave, "", flags).explain(failed)?;
        attach(mount.as_fd(), console.as_fd()).explain(failed)
    }
}

/// Makes three descriptors, none of which is below three, this process's standard streams.
pub(super) fn set_streams(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)
}
