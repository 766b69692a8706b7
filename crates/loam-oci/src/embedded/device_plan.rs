//! The nodes and links of `/dev`, made by descriptor beneath the opened directory only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loam_model::oci_spec::runtime::{Linux, LinuxDeviceType};
use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::explain::{Explain, failure};
use super::namespaces::Mappings;
use super::options::MountOptions;
use super::root::{PointKind, find_or_make};
use crate::devices::{DEFAULT_LINKS, DEFAULT_NODES};

/// A device node to make.
#[derive(Clone, Debug)]
struct Node {
    /// The path, relative to `/dev`.
    path: PathBuf,
    kind: FileType,
    major: u32,
    minor: u32,
    mode: u32,
    user: u32,
    group: u32,
}

/// The device nodes of a container.
#[derive(Clone, Debug)]
pub(super) struct DevicePlan(Vec<Node>);

impl DevicePlan {
    /// The nodes that every container has, and those of its configuration.
    pub(super) fn from(linux: Option<&Linux>) -> Result<Self> {
        let mut nodes: Vec<Node> = DEFAULT_NODES
            .iter()
            .map(|node| Node {
                path: PathBuf::from(node.name),
                kind: FileType::CharacterDevice,
                major: node.major,
                minor: node.minor,
                mode: 0o666,
                user: 0,
                group: 0,
            })
            .collect();
        for device in linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten() {
            let shown = device.path().display();
            let invalid =
                |what: &str| Failure::new(ErrorKind::Invalid, format!("the device `{shown}` {what}"));
            let path = device.path().strip_prefix("/dev").map_err(|_| invalid("is not below `/dev`"))?;
            if path.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
                return Err(invalid("is not a plain path"));
            }
            let number = |value: i64| u32::try_from(value).map_err(|_| invalid("has an impossible number"));
            nodes.retain(|node| node.path != path);
            nodes.push(Node {
                path: path.to_owned(),
                kind: match device.typ() {
                    LinuxDeviceType::B => FileType::BlockDevice,
                    LinuxDeviceType::P => FileType::Fifo,
                    LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => FileType::CharacterDevice,
                },
                major: number(device.major())?,
                minor: number(device.minor())?,
                mode: device.file_mode().unwrap_or(0o666) & 0o7777,
                user: device.uid().unwrap_or(0),
                group: device.gid().unwrap_or(0),
            });
        }
        Ok(Self(nodes))
    }

    /// Makes everything in the directory. With `bind`, nodes that may not be made are bound from the host's `/dev`.
    pub(super) fn populate(&self, dev: BorrowedFd<'_>, mappings: &Mappings, bind: bool) -> Result<()> {
        for node in &self.0 {
            match node.make(dev, mappings)? {
                Ok(()) => {}
                Err(Errno::PERM) if bind => node.bind(dev)?,
                Err(errno) => return Err(failure(errno, node.failed())),
            }
        }
        let owner = mappings.to_host(0, 0)?;
        for (name, target) in DEFAULT_LINKS {
            make_link(dev, name, target, owner)
                .explain(|| format!("making the link `/dev/{name}` failed"))?;
        }
        Ok(())
    }
}

impl Node {
    fn failed(&self) -> String {
        format!("making the device `/dev/{}` failed", self.path.display())
    }

    /// Makes the node; the inner result is that of mknod.
    fn make(&self, dev: BorrowedFd<'_>, mappings: &Mappings) -> Result<rustix::io::Result<()>> {
        let (directory, name) = self.place(dev)?;
        let directory = directory.as_ref().map_or(dev, AsFd::as_fd);
        let numbers = makedev(self.major, self.minor);
        let mode = Mode::from_raw_mode(self.mode);
        match rustix::fs::mknodat(directory, name, self.kind, mode, numbers) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.check(directory, name).map(Ok),
            Err(errno) => return Ok(Err(errno)),
        }
        let (user, group) = mappings.to_host(self.user, self.group)?;
        if (user, group) != (0, 0) {
            give_to(directory, name, user, group).explain(|| self.failed())?;
        }
        Ok(Ok(()))
    }

    /// What the image has in this place is kept when it is the very device, and refused otherwise: it may be a link to
    /// somewhere else.
    fn check(&self, directory: BorrowedFd<'_>, name: &Path) -> Result<()> {
        let stat =
            rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).explain(|| self.failed())?;
        let same = FileType::from_raw_mode(stat.st_mode) == self.kind
            && stat.st_rdev == makedev(self.major, self.minor);
        if same {
            return Ok(());
        }
        let message =
            format!("`/dev/{}` of the image is something else than the device", self.path.display());
        Err(Failure::new(ErrorKind::Denied, message))
    }

    /// Binds the host's node in this place.
    fn bind(&self, dev: BorrowedFd<'_>) -> Result<()> {
        let source = Path::new("/dev").join(&self.path);
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(CWD, &source, flags).explain(|| self.failed())?;
        let target = find_or_make(dev, &self.path, PointKind::File)?;
        attach(mount.as_fd(), target.as_fd()).explain(|| self.failed())
    }

    /// The directory of the node, unless it is `dev` itself, and its name.
    fn place(&self, dev: BorrowedFd<'_>) -> Result<(Option<OwnedFd>, &Path)> {
        let name = Path::new(self.path.file_name().unwrap_or_default());
        let directory = match self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => Some(find_or_make(dev, parent, PointKind::Directory)?),
            None => None,
        };
        Ok((directory, name))
    }
}

fn make_link(
    dev: BorrowedFd<'_>,
    name: &str,
    target: &str,
    (user, group): (u32, u32),
) -> rustix::io::Result<()> {
    match rustix::fs::symlinkat(target, dev, name) {
        // An image's own file is not touched, but for a device in place of the terminal multiplexer: the container
        // has its own.
        Err(Errno::EXIST) if name == "ptmx" => {
            let existing = rustix::fs::readlinkat(dev, name, Vec::new());
            if existing.is_ok_and(|link| link.as_bytes() == target.as_bytes()) {
                return Ok(());
            }
            rustix::fs::unlinkat(dev, name, AtFlags::empty())?;
            rustix::fs::symlinkat(target, dev, name)?;
        }
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    if (user, group) == (0, 0) { Ok(()) } else { give_to(dev, Path::new(name), user, group) }
}

fn give_to(directory: BorrowedFd<'_>, name: &Path, user: u32, group: u32) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    rustix::fs::chownat(directory, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
}

/// Attaches a detached mount.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

/// Makes a file system, not yet attached.
pub(super) fn make_file_system(
    kind: &str,
    source: &str,
    options: &MountOptions,
    label: Option<&str>,
) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !source.is_empty() {
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
    }
    for (key, value) in &options.data {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str())?,
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str())?,
        }
    }
    if let Some(label) = label {
        rustix::mount::fsconfig_set_string(&context, "context", label)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = u32::try_from(options.here.set | options.below.set).unwrap_or_default();
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::from_bits_retain(attributes),
    )
}

/// Makes the container's `/dev` with all nodes, on the host's side: there nodes may be made even when the container has
/// a user namespace, in which they never could. `None` when this process may not make nodes either.
pub(super) fn detached_devices(
    options: &MountOptions,
    devices: &DevicePlan,
    mappings: &Mappings,
    label: Option<&str>,
) -> Result<Option<OwnedFd>> {
    let making = || "making a file system for `/dev` failed".to_owned();
    let (user, group) = mappings.to_host(0, 0)?;
    let mut options = options.clone();
    for (key, value) in &mut options.data {
        if key == "uid" || key == "gid" {
            let id = value.as_deref().and_then(|value| value.parse().ok());
            let id: u32 = id.ok_or_else(|| {
                Failure::new(
                    ErrorKind::Invalid,
                    format!("the option `{key}` of the mount at `/dev` is no id"),
                )
            })?;
            let (user, group) = mappings.to_host(id, id)?;
            *value = Some(if key == "uid" { user } else { group }.to_string());
        }
    }
    for (key, id) in [("uid", user), ("gid", group)] {
        if id != 0 && !options.data.iter().any(|(present, _)| present == key) {
            options.data.push((key.to_owned(), Some(id.to_string())));
        }
    }
    let read_only = options.here.set & super::options::attribute::READ_ONLY;
    options.here.set &= !read_only;
    let mount = match make_file_system("tmpfs", "tmpfs", &options, label) {
        Err(Errno::PERM) => return Ok(None),
        other => other.explain(making)?,
    };
    // The mount's descriptor is a name only; nodes are made beneath an open directory.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dev = rustix::fs::openat(&mount, ".", flags, Mode::empty()).explain(making)?;
    if let Some(probe) = devices.0.first()
        && let Err(Errno::PERM) = probe.make(dev.as_fd(), mappings)?
    {
        return Ok(None);
    }
    devices.populate(dev.as_fd(), mappings, false)?;
    for name in ["pts", "shm", "mqueue"] {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755)).explain(making)?;
        if (user, group) != (0, 0) {
            give_to(dev.as_fd(), Path::new(name), user, group).explain(making)?;
        }
    }
    Ok(Some(mount))
}
