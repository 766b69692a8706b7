//! The container's mounts, made by its first process in its own mount namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::{MountChange, MountPropagation};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, UnmountFlags};

use super::device_plan::{attach, make_file_system};
use super::explain::Explain;
use super::mount_plan::{MountPlan, Mounts, What};
use super::options::{MountOptions, attribute};
use super::root::{PointKind, file_type, find_or_make, find_without_links, is_on, magic};
use crate::masks::may_be_covered;

/// The root file system in the container's mount namespace, and what is still to be done with its mounts.
#[derive(Debug)]
pub(super) struct Work<'a> {
    plan: &'a Mounts,
    pub(super) root: OwnedFd,
    read_only_later: Vec<OwnedFd>,
    cgroups: Option<(OwnedFd, &'a MountOptions)>,
}

impl<'a> Work<'a> {
    /// Cuts this mount namespace off from the host's, as far as the configuration wants it, and makes the root file
    /// system, opened before, a mount of its own if it is none.
    pub(super) fn begin(plan: &'a Mounts, root: OwnedFd, own_user: bool) -> Result<Self> {
        let failed = || "making the root file system a mount failed".to_owned();
        if plan.is_shared() && !own_user {
            // The mount that holds the root must not tell the host of what comes.
            let parent = mount_above(root.as_fd()).explain(failed)?;
            let change =
                MountChange { propagation: Some(MountPropagation::Private), ..MountChange::default() };
            loam_sys::change_mount(parent.as_fd(), &change).explain(failed)?;
        } else {
            let kind = match plan.propagation {
                Some((MountPropagation::Private | MountPropagation::Unbindable, _)) => {
                    MountPropagationFlags::PRIVATE
                }
                _ => MountPropagationFlags::DOWNSTREAM,
            };
            rustix::mount::mount_change("/", kind | MountPropagationFlags::REC)
                .explain(|| "leaving the host's mount propagation failed".to_owned())?;
        }
        // A mount that a user namespace has from the host is locked in its place, and can't become `/`.
        let root = if !own_user && is_mount_root(root.as_fd()).explain(failed)? {
            root
        } else {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE
                | OpenTreeFlags::AT_EMPTY_PATH;
            let tree = rustix::mount::open_tree(&root, "", flags).explain(failed)?;
            let change = MountChange {
                propagation: Some(MountPropagation::Private),
                recursive: true,
                ..MountChange::default()
            };
            loam_sys::change_mount(tree.as_fd(), &change).explain(failed)?;
            attach(tree.as_fd(), root.as_fd()).explain(failed)?;
            tree
        };
        Ok(Self { plan, root, read_only_later: Vec::new(), cgroups: None })
    }

    /// Makes all mounts, but for the views of cgroups, whose places are only made.
    pub(super) fn mount_all(&mut self) -> Result<()> {
        for mount in &self.plan.list {
            let target = self.target(mount)?;
            let failed = || format!("mounting `{}` failed", mount.destination.display());
            match &mount.what {
                What::Tree { mount: tree, is_directory, .. } => {
                    let attached = attach(tree.as_fd(), target.as_fd());
                    if attached.is_err() {
                        refuse_other_kind(&mount.destination, target.as_fd(), *is_directory)?;
                    }
                    attached.explain(failed)?;
                    if mount.read_only_later {
                        self.read_only_later.push(tree.try_clone().explain(failed)?);
                    }
                }
                What::FileSystem { kind, source, options } => {
                    let mut options = options.clone();
                    if mount.read_only_later {
                        options.here.set &= !attribute::READ_ONLY;
                        options.below.set &= !attribute::READ_ONLY;
                    }
                    let made = self.make(kind, source, &options).explain(failed)?;
                    let attached = attach(made.as_fd(), target.as_fd());
                    if attached.is_err() {
                        refuse_other_kind(&mount.destination, target.as_fd(), true)?;
                    }
                    attached.explain(failed)?;
                    if mount.read_only_later {
                        self.read_only_later.push(made);
                    }
                }
                What::Cgroups { options } => self.cgroups = Some((target, options)),
            }
        }
        Ok(())
    }

    /// Makes a file system and gives it the propagation that its options ask for.
    fn make(&self, kind: &str, source: &str, options: &MountOptions) -> rustix::io::Result<OwnedFd> {
        // Only file systems with files of their own take a label.
        let label = self.plan.label.as_deref().filter(|_| matches!(kind, "tmpfs" | "mqueue" | "devpts"));
        let made = make_file_system(kind, source, options, label)?;
        if let Some((propagation, _)) = options.propagation {
            let change = MountChange { propagation: Some(propagation), ..MountChange::default() };
            loam_sys::change_mount(made.as_fd(), &change)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
        }
        Ok(made)
    }

    /// Finds or makes the place of a mount, and refuses those that would deceive.
    fn target(&self, mount: &MountPlan) -> Result<OwnedFd> {
        let destination = mount.destination.as_path();
        let shown = destination.display();
        let (kind, is_proc) = match &mount.what {
            What::Tree { is_directory: false, is_proc, .. } => (PointKind::File, *is_proc),
            What::Tree { is_proc, .. } => (PointKind::Directory, *is_proc),
            What::FileSystem { kind, .. } => (PointKind::Directory, kind == "proc"),
            What::Cgroups { .. } => (PointKind::Directory, false),
        };
        if destination == Path::new("/proc") && !is_proc {
            let message = format!("only the proc file system may be mounted at `{shown}`");
            return Err(Failure::new(ErrorKind::Denied, message));
        }
        if ["/proc", "/sys", "/dev"].iter().any(|path| Path::new(path) == destination) {
            match find_without_links(self.root.as_fd(), destination) {
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP) => {
                    let message = format!("`{shown}` of the image is a symbolic link");
                    return Err(Failure::new(ErrorKind::Denied, message));
                }
                other => return other.explain(|| format!("opening `{shown}` in the container failed")),
            }
        }
        let target = find_or_make(self.root.as_fd(), destination, kind)?;
        let opening = || format!("opening `{shown}` in the container failed");
        if is_on(target.as_fd(), magic::PROC).explain(opening)? {
            let plain = || {
                let way = destination.parent().unwrap_or(destination);
                // `/proc/net` is a link of the kernel's own.
                way == Path::new("/proc/net") || find_without_links(self.root.as_fd(), destination).is_ok()
            };
            if !may_be_covered(destination) || !plain() {
                let message = format!("`{shown}` lies in the proc file system and may not be covered");
                return Err(Failure::new(ErrorKind::Denied, message));
            }
        }
        Ok(target)
    }

    /// Makes read-only what was kept writable until now.
    pub(super) fn finish_read_only(&self) -> Result<()> {
        let change = MountChange { set: attribute::READ_ONLY, ..MountChange::default() };
        for mount in &self.read_only_later {
            loam_sys::change_mount(mount.as_fd(), &change)
                .explain(|| "making a mount read-only failed".to_owned())?;
        }
        Ok(())
    }

    /// The place for the view of the container's cgroup, if it wants one.
    pub(super) fn cgroups(&self) -> Option<(BorrowedFd<'_>, &'a MountOptions)> {
        self.cgroups.as_ref().map(|(target, options)| (target.as_fd(), *options))
    }

    /// Makes the root file system this process's `/` and lets go of the host's.
    pub(super) fn enter(&self) -> Result<()> {
        let entering = || "entering the root file system failed".to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let host = rustix::fs::open("/", flags, Mode::empty()).explain(entering)?;
        rustix::process::fchdir(&self.root).explain(entering)?;
        // The host's root ends up on top of the new one, and is then taken off it.
        rustix::process::pivot_root(".", ".").explain(entering)?;
        rustix::process::fchdir(&host).explain(entering)?;
        if self.plan.is_shared() {
            // The host shall not lose its mounts with us.
            rustix::mount::mount_change(".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
                .explain(entering)?;
        }
        rustix::mount::unmount(".", UnmountFlags::DETACH).explain(entering)?;
        rustix::process::chdir("/").explain(entering)?;
        if let Some((propagation, recursive)) = self.plan.propagation {
            let change = MountChange { propagation: Some(propagation), recursive, ..MountChange::default() };
            loam_sys::change_mount(self.root.as_fd(), &change)
                .explain(|| "setting the propagation of the root file system failed".to_owned())?;
        }
        Ok(())
    }
}

/// What the kernel calls an invalid argument: a directory can be mounted on directories alone, a file on what is none.
fn refuse_other_kind(destination: &Path, target: BorrowedFd<'_>, is_directory: bool) -> Result<()> {
    let shown = destination.display();
    let kind = file_type(target).explain(|| format!("looking at `{shown}` in the container failed"))?;
    let on_directory = kind == FileType::Directory;
    let message = match (is_directory, on_directory) {
        (true, false) => format!("a directory can't be mounted on `{shown}`, which is none in the container"),
        (false, true) => {
            format!("a file can't be mounted on `{shown}`, which is a directory in the container")
        }
        _ => return Ok(()),
    };
    Err(Failure::new(ErrorKind::Invalid, message))
}

/// Whether a directory is the root of a mount.
fn is_mount_root(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
    let statx = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(statx.stx_attributes.bits() & STATX_ATTR_MOUNT_ROOT != 0)
}

/// The root of the mount that a directory is in, or, when it is the root of one itself, of the mount above.
fn mount_above(directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(directory, "..", flags, Mode::empty())?;
    while !is_mount_root(at.as_fd())? {
        at = rustix::fs::openat(&at, "..", flags, Mode::empty())?;
    }
    Ok(at)
}

/// Opens the root file system on the host.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .explain(|| format!("opening the root file system `{}` failed", path.display()))
}
