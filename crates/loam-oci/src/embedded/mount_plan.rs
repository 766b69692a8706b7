//! What is mounted where, prepared on the shim's side as far as possible.
//!
//! The shim is root on the host and sees the host's files; the container's first process may be nobody there. So the
//! shim opens everything that comes from the host, as detached mounts with their attributes set, and the new process
//! has only to attach them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use loam_model::oci_spec::runtime::{Mount, Spec};
use loam_model::{ErrorKind, Failure, Result};
use loam_sys::{MountChange, MountPropagation};
use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::thread::ThreadNameSpaceType as Kind;

use super::device_plan::{DevicePlan, detached_devices};
use super::explain::{Explain, failure};
use super::namespaces::{Mappings, Namespaces, mapping};
use super::options::{MountOptions, attribute, parse, propagation};
use super::root::{file_type, is_on, magic};

/// One mount.
#[derive(Debug)]
pub(super) struct MountPlan {
    /// Where, a path of the container.
    pub(super) destination: PathBuf,
    /// What.
    pub(super) what: What,
    /// Whether it becomes read-only, but only when everything below it is made.
    pub(super) read_only_later: bool,
}

/// What is mounted.
#[derive(Debug)]
pub(super) enum What {
    /// A detached mount with all its attributes.
    Tree { mount: OwnedFd, is_directory: bool, is_proc: bool },
    /// A file system to be made in the container's namespaces.
    FileSystem { kind: String, source: String, options: MountOptions },
    /// The view of the container's cgroup.
    Cgroups { options: MountOptions },
}

/// All mounts of a container, in order.
#[derive(Debug)]
pub(super) struct Mounts {
    pub(super) list: Vec<MountPlan>,
    /// Whether `/dev` still has to get its nodes and links: it is neither the host's nor made ready here.
    pub(super) devices_missing: bool,
    /// The propagation of the container's root, and whether for all mounts.
    pub(super) propagation: Option<(MountPropagation, bool)>,
    /// The SELinux label of new file systems.
    pub(super) label: Option<String>,
}

impl Mounts {
    /// Reads the configuration and opens what comes from the host.
    pub(super) fn from(
        spec: &Spec,
        bundle: &Path,
        namespaces: &Namespaces,
        mappings: &Mappings,
        devices: &DevicePlan,
    ) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let word = linux.and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default();
        let propagation = match word {
            "" => None,
            word => Some(propagation(word).ok_or_else(|| {
                Failure::new(ErrorKind::Invalid, format!("`{word}` is no mount propagation"))
            })?),
        };
        let mut mounts = Self {
            list: Vec::new(),
            devices_missing: true,
            propagation,
            label: linux.and_then(|linux| linux.mount_label().clone()).filter(|label| !label.is_empty()),
        };
        for mount in spec.mounts().iter().flatten() {
            let destination = clean(mount.destination())?;
            let planner = Planner { mount, bundle, namespaces, mappings, devices, all: &mounts };
            let what = planner.plan(&destination)?;
            if destination == Path::new("/dev") && matches!(what, What::Tree { .. }) {
                mounts.devices_missing = false;
            }
            let read_only_later = kept_writable(mount, &destination, &what);
            mounts.list.push(MountPlan { destination, what, read_only_later });
        }
        Ok(mounts)
    }

    /// The detached mounts that are still to be attached.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().filter_map(|mount| match &mount.what {
            What::Tree { mount, .. } => Some(mount.as_fd()),
            What::FileSystem { .. } | What::Cgroups { .. } => None,
        })
    }

    /// Whether mounts made in the container may show on the host.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.propagation, Some((MountPropagation::Shared, _)))
    }
}

/// Whether a file system in memory that shall be read-only is writable until all is made: mount points, device nodes.
fn kept_writable(mount: &Mount, destination: &Path, what: &What) -> bool {
    let read_only = || {
        let options = parse(mount.options().as_deref().unwrap_or_default());
        (options.here.set | options.below.set) & attribute::READ_ONLY != 0
    };
    let in_memory = match what {
        What::FileSystem { kind, .. } => kind == "tmpfs",
        What::Tree { .. } => destination == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs"),
        What::Cgroups { .. } => false,
    };
    in_memory && read_only()
}

/// Makes a path absolute, without `.` and `..`.
fn clean(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                let message = format!("the mount destination `{}` contains `..`", path.display());
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

/// What is needed to plan one mount.
struct Planner<'a> {
    mount: &'a Mount,
    bundle: &'a Path,
    namespaces: &'a Namespaces,
    mappings: &'a Mappings,
    devices: &'a DevicePlan,
    all: &'a Mounts,
}

impl Planner<'_> {
    fn plan(&self, destination: &Path) -> Result<What> {
        let options = parse(self.mount.options().as_deref().unwrap_or_default());
        let kind = self.mount.typ().as_deref().unwrap_or("none");
        if options.bind.is_some() || kind == "bind" {
            let source = self.mount.source().as_deref().unwrap_or(Path::new(""));
            return self.tree(&self.bundle.join(source), options.bind.unwrap_or(false), &options);
        }
        if let Some(host) = self.host_instead(kind) {
            return self.tree(Path::new(host), true, &options);
        }
        if kind == "none" {
            let message =
                format!("the mount at `{}` says neither what nor from where", destination.display());
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        if options.idmap.is_some() {
            let message = format!("a new `{kind}` at `{}` can't be id-mapped", destination.display());
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        if kind == "cgroup" || kind == "cgroup2" {
            return Ok(What::Cgroups { options });
        }
        if kind == "tmpfs" && destination == Path::new("/dev") {
            let label = self.all.label.as_deref();
            if let Some(mount) = detached_devices(&options, self.devices, self.mappings, label)? {
                return Ok(What::Tree { mount, is_directory: true, is_proc: false });
            }
        }
        let source = self.mount.source().as_ref().map_or(kind.to_owned(), |s| s.display().to_string());
        Ok(What::FileSystem { kind: kind.to_owned(), source, options })
    }

    /// A user namespace may not mount file systems that show a namespace of the host's; it gets the host's own mount.
    fn host_instead(&self, kind: &str) -> Option<&'static str> {
        let namespaces = self.namespaces;
        let shown = match kind {
            "sysfs" if !namespaces.has(Kind::NETWORK) => "/sys",
            "mqueue" if !namespaces.has(Kind::INTER_PROCESS_COMMUNICATION) => "/dev/mqueue",
            "proc" if !namespaces.own_pid() => "/proc",
            _ => return None,
        };
        namespaces.own_user().then_some(shown)
    }

    fn tree(&self, source: &Path, recursive: bool, options: &MountOptions) -> Result<What> {
        let shown = source.display();
        if matches!(options.propagation, Some((MountPropagation::Shared, _))) && self.namespaces.own_user() {
            // Else root in the container could make mounts on the host.
            let message = format!("the mount of `{shown}` can't be shared with a user namespace");
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        let opening = || format!("opening the mount source `{shown}` failed");
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let mount = rustix::mount::open_tree(CWD, source, flags).map_err(|errno| match errno {
            Errno::NOENT => {
                Failure::new(ErrorKind::NotFound, format!("the mount source `{shown}` does not exist"))
            }
            _ => failure(errno, opening()),
        })?;
        self.change(&mount, recursive, options)
            .explain(|| format!("setting the options of the mount `{shown}` failed"))?;
        self.map(&mount, options)?;
        let is_directory = file_type(mount.as_fd()).explain(opening)? == FileType::Directory;
        let is_proc = is_on(mount.as_fd(), magic::PROC).explain(opening)?;
        Ok(What::Tree { mount, is_directory, is_proc })
    }

    /// Sets attributes and propagation. What other mounts the host makes below is none of the container's business
    /// unless its configuration says so.
    fn change(&self, mount: &OwnedFd, recursive: bool, options: &MountOptions) -> std::io::Result<()> {
        let mut propagation = options.propagation.or(self.all.propagation.map(|(kind, _)| (kind, true)));
        if options.propagation.is_none() && self.all.is_shared() {
            propagation = Some((MountPropagation::Slave, true));
        }
        let (kind, everywhere) = propagation.unwrap_or((MountPropagation::Private, true));
        let change = MountChange {
            set: options.here.set,
            clear: options.here.clear,
            propagation: Some(kind),
            recursive: false,
            mapping: None,
        };
        if recursive && everywhere {
            let all = MountChange { propagation: Some(kind), recursive: true, ..MountChange::default() };
            loam_sys::change_mount(mount.as_fd(), &all)?;
        }
        change_or_keep_locked(mount, &change)?;
        if !options.below.is_empty() {
            let (set, clear) = (options.below.set, options.below.clear);
            let change = MountChange { set, clear, recursive: true, ..MountChange::default() };
            change_or_keep_locked(mount, &change)?;
        }
        Ok(())
    }

    /// Gives the mount the mapping that its options ask for.
    fn map(&self, mount: &OwnedFd, options: &MountOptions) -> Result<()> {
        let mapped = self.mount.uid_mappings().is_some() || self.mount.gid_mappings().is_some();
        if options.idmap.is_none() && !mapped {
            return Ok(());
        }
        if self
            .mount
            .gid_mappings()
            .as_ref()
            .is_some_and(|groups| Some(groups) != self.mount.uid_mappings().as_ref())
        {
            let message = "an id-mapped mount needs the same mapping for users and groups";
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        let users = match self.mount.uid_mappings() {
            Some(ranges) => mapping(Some(ranges))?,
            None => self.mappings.users.clone().ok_or_else(|| {
                Failure::new(ErrorKind::Invalid, "an id-mapped mount needs a mapping or a user namespace")
            })?,
        };
        let mapping = || -> std::io::Result<()> {
            let namespace = loam_sys::user_namespace(&users.to_map_text())?;
            loam_sys::set_mount_id_mapping(mount.as_fd(), namespace.as_fd(), options.idmap == Some(true))
        };
        mapping().explain(|| format!("id-mapping the mount `{}` failed", self.mount.destination().display()))
    }
}

/// Changes attributes. When this process is in a user namespace, those that the host has set may be locked: they stay.
fn change_or_keep_locked(mount: &OwnedFd, change: &MountChange<'_>) -> std::io::Result<()> {
    match loam_sys::change_mount(mount.as_fd(), change) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && change.clear != 0 => {
            // The access time is a choice: what takes its place is set only if the old one is cleared.
            let chooses = change.set & attribute::ACCESS_TIME != 0;
            let clear = if chooses { change.clear & attribute::ACCESS_TIME } else { 0 };
            loam_sys::change_mount(mount.as_fd(), &MountChange { clear, ..*change })
        }
        other => other,
    }
}
