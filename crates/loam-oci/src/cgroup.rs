//! The cgroup of a container: one directory of the same path in every hierarchy.
//!
//! Below each mount in `/sys/fs/cgroup` there is, for the container whose path is `/loam-ID`:
//!
//! ```text
//! memory/loam-ID     version 1: one for each hierarchy with controllers
//! systemd/loam-ID    version 1 without controllers: says which processes belong together, made when possible
//! unified/loam-ID    version 2 beside version 1: likewise, and for its freezer and `cgroup.kill`
//! loam-ID            version 2 alone
//! ```
//!
//! By systemd's driver, which is for version 2 alone, it is `machine.slice/loam-ID.scope`: systemd makes and removes
//! the directory, everything below and in it is the same ([`systemd`]).
//!
//! The path is taken below the mount, wherever the calling process itself is. Only the shim of a container changes
//! its directories, and the engine when that shim is gone. A crash leaves directories behind which
//! [`Cgroup::create`] of the same path takes over when nothing runs in them, and [`Cgroup::remove`] finds from the
//! path alone; `/loam` goes with the last container.

mod creation;
mod device;
mod driver;
mod error;
mod hierarchy;
mod processes;
mod removal;
mod setting;
mod statistics;
mod systemd;
mod v1;
mod v2;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::{CgroupPlace, Stats, shown};

pub use driver::cgroup_driver;
pub(crate) use error::CgroupError;
pub use hierarchy::CgroupLayout;
pub(crate) use hierarchy::Layout;
pub(crate) use processes::can_kill_at_once;

use hierarchy::Hierarchy;
use processes::{is_in_use, is_populated};

/// How often a version 1 hierarchy is asked to take a process that is still being born, and how long between.
const JOIN_ATTEMPTS: u32 = 5;
const JOIN_PAUSE: Duration = Duration::from_millis(30);

/// The container's cgroup in every hierarchy that is mounted below `/sys/fs/cgroup`.
#[derive(Debug)]
pub struct Cgroup {
    path: String,
    /// systemd's unit, when that is what it is.
    unit: Option<String>,
    /// How often a process was killed for lack of memory in the slice, before this scope was made in it.
    kills_before: Option<u64>,
    seats: Vec<Seat>,
}

/// The cgroup in one hierarchy.
#[derive(Debug)]
struct Seat {
    hierarchy: Hierarchy,
    directory: PathBuf,
}

/// What the memory controller of version 1 is set to.
#[derive(Clone, Copy, Debug, Default)]
struct MemoryNow {
    /// The limit of memory and swap together; `None` when there is none.
    memory_and_swap: Option<i64>,
}

/// The kind of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One of several, with some controllers.
    V1,
    /// The unified hierarchy.
    V2,
}

/// How one hierarchy is shown in a container, below its `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// The kind: file system type `cgroup` or `cgroup2`.
    pub version: CgroupVersion,
    /// The container's directory in the hierarchy on the host, to bind.
    pub source: PathBuf,
    /// The directory below `/sys/fs/cgroup`, such as `memory` or `cpu,cpuacct`; empty when the hierarchy is
    /// `/sys/fs/cgroup` itself (only v2 is there).
    pub target: String,
    /// The mount option that names a v1 hierarchy, such as `memory`, `cpu,cpuacct` or `name=systemd`.
    pub options: String,
    /// Names of symbolic links to `target` beside it, such as `cpu` for `cpu,cpuacct`.
    pub links: Vec<String>,
}

impl Cgroup {
    /// Makes the cgroup `path` (absolute below each hierarchy's mount, such as `/loam-ID`) and sets its limits and
    /// device rules. A failure leaves nothing behind.
    pub fn create(path: &str, resources: Option<&LinuxResources>) -> loam_model::Result<Cgroup> {
        let place = parse(path)?;
        if let Some(unit) = place.unit() {
            return Err(CgroupError::NoProcess { unit }.into());
        }
        creation::make(&place, &Layout::detect()?)?.with_limits(resources)
    }

    /// Makes a cgroup for a process that exists and moves it there, whoever makes it. `annotations` are those of the
    /// container's configuration: some are properties of a scope. A failure leaves nothing behind.
    pub(crate) fn create_around(
        place: &CgroupPlace,
        pid: i32,
        resources: Option<&LinuxResources>,
        annotations: &HashMap<String, String>,
    ) -> loam_model::Result<Cgroup> {
        let (CgroupPlace::Scope { slice, .. }, Some(unit)) = (place, place.unit()) else {
            return Self::create(&place.path(), resources);
        };
        let mut cgroup = Self::at(place, Layout::detect()?);
        cgroup.kills_before = cgroup.kills_in_slice();
        if cgroup.seats.iter().any(|seat| seat.hierarchy.version == CgroupVersion::V1) {
            return Err(CgroupError::SystemdOnVersionOne.into());
        }
        if !cgroup.processes()?.is_empty() {
            return Err(CgroupError::Occupied { path: cgroup.members().to_owned() }.into());
        }
        let properties = systemd::of_container(&unit, slice.as_str(), pid, resources, annotations)?;
        systemd::start(&unit, slice.as_str(), &properties)?;
        cgroup.with_limits(resources)
    }

    /// Sets limits and device rules; a failure removes the cgroup.
    fn with_limits(self, resources: Option<&LinuxResources>) -> loam_model::Result<Self> {
        let set = resources.map_or(Ok(()), |resources| self.apply(resources, MemoryNow::default()));
        match set {
            Ok(()) => Ok(self),
            Err(error) if self.unit.is_none() => {
                self.remove_now();
                Err(error.into())
            }
            Err(error) => {
                if let Err(undo) = self.remove_all() {
                    tracing::warn!("a scope is left behind: {undo}");
                }
                Err(error.into())
            }
        }
    }

    /// The cgroup of a place, whether it exists or not.
    fn at(place: &CgroupPlace, layout: Layout) -> Self {
        let path = place.path();
        let seat = |hierarchy: Hierarchy| Seat { directory: below(&hierarchy.mount, &path), hierarchy };
        let seats = layout.hierarchies.into_iter().map(seat).collect();
        Self { seats, unit: place.unit(), kills_before: None, path }
    }

    /// Finds the cgroup at a place, written as in `linux.cgroupsPath`, that exists. Makes nothing; hierarchies in which
    /// it is missing are left out.
    pub fn open(place: &str) -> loam_model::Result<Cgroup> {
        let mut cgroup = Self::at(&parse(place)?, Layout::detect()?);
        cgroup.seats.retain(|seat| seat.directory.is_dir());
        if cgroup.seats.is_empty() {
            return Err(CgroupError::NotFound { path: cgroup.path }.into());
        }
        Ok(cgroup)
    }

    /// Moves a process with all its threads into the cgroup, in every hierarchy. Zero is the caller.
    pub fn join(&self, pid: i32) -> loam_model::Result<()> {
        Ok(self.seats.iter().try_for_each(|seat| seat.join(pid))?)
    }

    /// The same for the first process. A hierarchy that only tracks and does not take it is given up: an empty directory
    /// there would say that nothing runs.
    pub fn join_first(&mut self, pid: i32) -> loam_model::Result<()> {
        let mut at = 0;
        while let Some(seat) = self.seats.get(at) {
            match seat.join(pid) {
                Err(CgroupError::Write { source, .. })
                    if seat.hierarchy.is_tracking() && is_refusal(&source) && self.seats.len() > 1 =>
                {
                    seat.give_up()?;
                    self.seats.remove(at);
                }
                joined => {
                    joined?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// How the hierarchies are shown in the container.
    pub fn container_mounts(&self) -> Vec<CgroupMount> {
        self.seats.iter().map(Seat::container_mount).collect()
    }

    /// Kills every process in the cgroup and the cgroups below it. Does not wait until they are gone.
    pub fn kill_all(&self) -> loam_model::Result<()> {
        Ok(self.kill()?)
    }

    /// Sends a signal to every process in the cgroup and the cgroups below it.
    pub fn signal_all(&self, signal: i32) -> loam_model::Result<()> {
        Ok(self.signal(signal)?)
    }

    /// Stops every process where it stands, and waits until they stand.
    pub fn freeze(&self) -> loam_model::Result<()> {
        Ok(self.set_frozen(true)?)
    }

    /// Lets frozen processes go on.
    pub fn thaw(&self) -> loam_model::Result<()> {
        Ok(self.set_frozen(false)?)
    }

    /// Changes the limits. Those that `resources` does not mention stay.
    pub fn update(&self, resources: &LinuxResources) -> loam_model::Result<()> {
        self.tell_systemd(resources)?;
        Ok(self.apply(resources, self.memory_now())?)
    }

    /// Reads the kernel's figures. The network's are not a cgroup's and stay absent.
    pub fn stats(&self) -> loam_model::Result<Stats> {
        Ok(self.read_stats()?)
    }

    /// Kills whatever is left in the cgroup and removes it, those below it first. Success when there is none.
    pub fn remove(&self) -> loam_model::Result<()> {
        Ok(self.remove_all()?)
    }

    /// Removes the cgroup at a place, with whatever runs there, if there is one, and parents that nobody needs any
    /// more.
    pub fn remove_path(place: &str) -> loam_model::Result<()> {
        match Self::open(place) {
            Ok(cgroup) => cgroup.remove(),
            Err(failure) if failure.kind() == loam_model::ErrorKind::NotFound => {
                Self::at(&parse(place)?, Layout::detect()?).remove_empty_parents();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the kernel killed a process of the cgroup for lack of memory.
    pub fn oom_killed(&self) -> bool {
        self.out_of_memory_kills().is_some_and(|kills| kills > 0)
    }

    /// The processes in the cgroup and the cgroups below it.
    pub fn pids(&self) -> loam_model::Result<Vec<i32>> {
        Ok(self.processes()?)
    }

    /// The directory in the hierarchy of a version 1 controller.
    fn v1(&self, controller: &str) -> Option<&Path> {
        let has = |seat: &&Seat| seat.hierarchy.controllers.iter().any(|name| name == controller);
        self.seats.iter().find(has).map(|seat| seat.directory.as_path())
    }

    /// The directory in the version 2 hierarchy.
    fn v2(&self) -> Option<&Path> {
        let is = |seat: &&Seat| seat.hierarchy.version == CgroupVersion::V2;
        self.seats.iter().find(is).map(|seat| seat.directory.as_path())
    }

    /// The directory in the version 2 hierarchy, unless it is empty while something runs in version 1. Where version 2 has
    /// no controllers a runtime may have been refused it, and have gone on without.
    fn whole_v2(&self) -> Option<&Path> {
        let directory = self.v2()?;
        let astray = |seat: &Seat| !is_populated(directory) && is_in_use(&seat.directory).unwrap_or(false);
        if self.controlled().is_some_and(astray) { None } else { Some(directory) }
    }

    /// The first of the version 1 hierarchies with controllers: no process of the cgroup is missing there.
    fn controlled(&self) -> Option<&Seat> {
        let is = |seat: &&Seat| seat.hierarchy.version == CgroupVersion::V1 && !seat.hierarchy.is_tracking();
        self.seats.iter().find(is)
    }

    /// The directory whose list of processes is taken for the whole: version 2's if they are there.
    fn members(&self) -> &Path {
        self.whole_v2()
            .or_else(|| self.controlled().map(|seat| seat.directory.as_path()))
            .unwrap_or_else(|| &self.seats.last().expect("a cgroup is in at least one hierarchy").directory)
    }
}

impl Seat {
    fn join(&self, pid: i32) -> Result<(), CgroupError> {
        let file = self.directory.join("cgroup.procs");
        let mut left = JOIN_ATTEMPTS;
        loop {
            left -= 1;
            match write(&file, &pid.to_string()) {
                // A process that is still being born can't be moved in version 1; nothing tells when it can.
                Err(CgroupError::Write { source, .. })
                    if source.kind() == ErrorKind::InvalidInput && left > 0 =>
                {
                    std::thread::sleep(JOIN_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn container_mount(&self) -> CgroupMount {
        let target = self.hierarchy.relative().to_owned();
        let plain = self.hierarchy.controllers.iter().filter(|name| !name.contains('='));
        let links = plain.filter(|&name| *name != target).cloned().collect();
        CgroupMount {
            version: self.hierarchy.version,
            source: self.directory.clone(),
            target,
            options: self.hierarchy.controllers.join(","),
            links,
        }
    }
}

/// The controllers that limits can be set with on this host; `None` when that can't be found out.
pub(crate) fn available_controllers() -> Option<Vec<String>> {
    Layout::detect().ok().map(|layout| layout.available())
}

/// Reads a place, and refuses what could lead out of the hierarchy, or to its root.
fn parse(place: &str) -> Result<CgroupPlace, CgroupError> {
    place.parse().map_err(|source| CgroupError::BadPath { path: shown(place), source })
}

/// The directory of a checked cgroup path below a mount.
fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound)
}

fn read(path: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })
}

/// Writes a value in one write(2), without making the file.
fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| rustix::io::write(&file, value.as_bytes()).map_err(io::Error::from));
    match written {
        Ok(_) => Ok(()),
        Err(source) => Err(CgroupError::Write { path: path.to_owned(), value: value.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_hierarchy_is_shown_with_links() {
        let hierarchy = Hierarchy {
            version: CgroupVersion::V1,
            mount: PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"),
            controllers: vec!["cpu".to_owned(), "cpuacct".to_owned()],
            read_only: false,
        };
        let mount = Seat { directory: below(&hierarchy.mount, "/loam/1"), hierarchy }.container_mount();
        assert_eq!(mount.links, ["cpu", "cpuacct"]);
        assert_eq!((mount.target.as_str(), mount.options.as_str()), ("cpu,cpuacct", "cpu,cpuacct"));
        assert_eq!(mount.source, Path::new("/sys/fs/cgroup/cpu,cpuacct/loam/1"));
    }
}
