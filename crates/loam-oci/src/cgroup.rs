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
//! A *place* ([`CgroupPlace`]) is what a configuration says: a path, or a scope of systemd's with its slice. A *directory*
//! ([`CgroupDirectory`]) is what there is at that place in one hierarchy. [`create`] makes all of them by the place's
//! driver, [`limits`] writes into them, [`lookup`] says which of them a question is put to.
//!
//! By systemd's driver, which is for version 2 alone, it is `machine.slice/loam-ID.scope`: systemd makes and removes
//! the directory, everything below and in it is the same ([`systemd`]).
//!
//! The path is taken below the mount, wherever the calling process itself is. Only the shim of a container changes
//! its directories, and the engine when that shim is gone. A crash leaves directories behind which
//! [`Cgroup::create`] of the same path takes over when nothing runs in them, and [`Cgroup::remove`] finds from the
//! path alone; `/loam` goes with the last container.

mod cgroupfs;
mod create;
mod device;
mod directory;
mod driver;
mod error;
mod files;
mod freezer;
mod hierarchy;
mod limits;
mod lookup;
mod processes;
mod removal;
mod setting;
mod statistics;
mod systemd;
mod v1;
mod v2;

use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::{CgroupPlace, Stats, shown};

pub use directory::{CgroupMount, CgroupVersion};
pub use driver::cgroup_driver;
pub(crate) use error::CgroupError;
pub use hierarchy::CgroupLayout;
pub(crate) use hierarchy::Layout;
pub(crate) use processes::can_kill_at_once;

use directory::{CgroupDirectory, is_refusal};
use files::{below, read, write};
use hierarchy::Hierarchy;

/// The container's cgroup in every hierarchy that is mounted below `/sys/fs/cgroup`.
#[derive(Debug)]
pub struct Cgroup {
    path: String,
    /// systemd's unit, when that is what it is.
    unit: Option<String>,
    /// How often a process was killed for lack of memory in the slice, before this scope was made in it.
    kills_before: Option<u64>,
    directories: Vec<CgroupDirectory>,
}

/// What the memory controller of version 1 is set to.
#[derive(Clone, Copy, Debug, Default)]
struct MemoryNow {
    /// The limit of memory and swap together; `None` when there is none.
    memory_and_swap: Option<i64>,
}

impl Cgroup {
    /// The cgroup of a place, whether it exists or not.
    fn at(place: &CgroupPlace, layout: Layout) -> Self {
        let path = place.path();
        let directory =
            |hierarchy: Hierarchy| CgroupDirectory { path: below(&hierarchy.mount, &path), hierarchy };
        let directories = layout.hierarchies.into_iter().map(directory).collect();
        Self { directories, unit: place.unit(), kills_before: None, path }
    }

    /// Finds the cgroup at a place, written as in `linux.cgroupsPath`, that exists. Makes nothing; hierarchies in which
    /// it is missing are left out.
    pub fn open(place: &str) -> loam_model::Result<Cgroup> {
        let mut cgroup = Self::at(&parse(place)?, Layout::detect()?);
        cgroup.directories.retain(|directory| directory.path.is_dir());
        if cgroup.directories.is_empty() {
            return Err(CgroupError::NotFound { path: cgroup.path }.into());
        }
        Ok(cgroup)
    }

    /// Moves a process with all its threads into the cgroup, in every hierarchy. Zero is the caller.
    pub fn join(&self, pid: i32) -> loam_model::Result<()> {
        Ok(self.directories.iter().try_for_each(|directory| directory.join(pid))?)
    }

    /// The same for the first process. A hierarchy that only tracks and does not take it is given up: an empty directory
    /// there would say that nothing runs.
    pub fn join_first(&mut self, pid: i32) -> loam_model::Result<()> {
        let mut at = 0;
        while let Some(directory) = self.directories.get(at) {
            match directory.join(pid) {
                Err(CgroupError::Write { source, .. })
                    if directory.hierarchy.is_tracking()
                        && is_refusal(&source)
                        && self.directories.len() > 1 =>
                {
                    directory.give_up()?;
                    self.directories.remove(at);
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
        self.directories.iter().map(CgroupDirectory::container_mount).collect()
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
}

/// The controllers that limits can be set with on this host; `None` when that can't be found out.
pub(crate) fn available_controllers() -> Option<Vec<String>> {
    Layout::detect().ok().map(|layout| layout.available())
}

/// Reads a place, and refuses what could lead out of the hierarchy, or to its root.
fn parse(place: &str) -> Result<CgroupPlace, CgroupError> {
    place.parse().map_err(|source| CgroupError::BadPath { path: shown(place), source })
}
