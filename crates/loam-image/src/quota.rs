//! Disk limits: what keeps a container from writing more to its snapshot than it may, and counts what it has written.
//!
//! | mechanism | where | how | at the limit | `df` inside |
//! |---|---|---|---|---|
//! | [`project`] | XFS or ext4 mounted with project quotas | the snapshot's directory has a project id of its own | ENOSPC (ext4: EDQUOT) | tells the limit |
//! | [`btrfs`] | btrfs with quotas switched on | the snapshot is a subvolume, whose quota group is limited | EDQUOT | tells the file system |
//! | [`disk_file`] | everywhere else | upper and work lie in an ext4 file system of the right size, in a file | ENOSPC | tells the limit |
//!
//! A store looks at its file system when a limit is asked for, which takes two system calls, and writes the mechanism down
//! with the snapshot, so that a store that is mounted with other options later still removes what was made before. All
//! mechanisms count what is written above the image, in a time that does not depend on how much that is. Project quotas and
//! quota groups do so without a limit, too: where they are there for nothing ([`counting`]), every snapshot is counted.
//! Whoever mounts a snapshot raises its limit meanwhile (`headroom` of `loam-rootfs`).
//!
//! Every file of this module but this one knows one mechanism and nothing of snapshots or the database.

pub(crate) mod btrfs;
pub(crate) mod disk_file;
mod left_groups;
pub(crate) mod project;
mod superblock;
mod template;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loam_model::{QuotaMechanism, Result};
use rustix::fs::{Mode, OFlags};

use crate::staging::{Places, make_directory, open_directory};
use btrfs::BtrfsQuota;
use disk_file::DiskFileQuota;
use project::ProjectQuota;

/// The magic numbers of statfs(2).
const XFS: u64 = 0x5846_5342;
const EXT4: u64 = 0xef53;
const BTRFS: u64 = 0x9123_683e;

/// The place of one snapshot that is counted, and perhaps limited.
#[derive(Clone, Debug)]
pub(crate) struct CountedSnapshot {
    /// `snapshots/CONTAINER`.
    pub(crate) path: PathBuf,
    /// Its limit in bytes; without one it is counted, which not every mechanism can.
    pub(crate) limit: Option<u64>,
    /// Its project id, for the mechanism that has them.
    pub(crate) project: Option<u32>,
}

/// A way to count and limit what is written below a directory.
///
/// Life: [`make`](Self::make) makes the place with the limit in force, the caller fills it with `upper` and `work`, and
/// [`seal`](Self::seal) makes it count; until then [`is_whole`](Self::is_whole) says no, and [`remove`](Self::remove)
/// takes away what there is, as it does later, at any point, any number of times.
pub(crate) trait DiskQuota: fmt::Debug {
    /// Makes the place, of which there is nothing, and gives the directory in which `upper` and `work` are to be made.
    fn make(&self, place: &CountedSnapshot) -> Result<OwnedFd>;

    /// Makes a place whole whose directory has been filled and closed; with `sync` it survives a power cut.
    fn seal(&self, place: &CountedSnapshot, sync: bool) -> Result<()>;

    /// Gives a whole place its limit, which is another than the one that it has, or its first, or takes it away. Who has more
    /// already can write nothing until enough of it is deleted.
    fn change(&self, place: &CountedSnapshot) -> Result<()>;

    /// Whether the place was made to the end.
    fn is_whole(&self, place: &CountedSnapshot) -> bool;

    /// The disk file that has to be mounted to get at `upper` and `work`; `None` when they lie below the place's path.
    fn disk(&self, place: &CountedSnapshot) -> Option<PathBuf>;

    /// Bytes that the place holds; `None` when only the mounts of a running container tell.
    fn used(&self, place: &CountedSnapshot) -> Result<Option<u64>>;

    /// Removes the place with everything in it and everything that counts it. Success when there is nothing.
    fn remove(&self, place: &CountedSnapshot) -> Result<()>;
}

/// The quota of this mechanism.
pub(crate) fn quota(mechanism: QuotaMechanism, places: &Places) -> Box<dyn DiskQuota> {
    let places = places.clone();
    match mechanism {
        QuotaMechanism::Project => Box::new(ProjectQuota::new(places)),
        QuotaMechanism::BtrfsQgroup => Box::new(BtrfsQuota::new(places)),
        QuotaMechanism::DiskFile => Box::new(DiskFileQuota::new(places)),
    }
}

/// What enforces disk limits in a state directory, which need not be there yet. It needs no rights.
pub fn quota_mechanism(root: &Path) -> io::Result<QuotaMechanism> {
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let directory = open_directory(there).or_else(|_| {
        // One that only root may list can still be asked for project quotas.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(there, flags, Mode::empty()).map_err(io::Error::from)
    })?;
    Ok(mechanism(directory.as_fd()))
}

/// What enforces limits on the file system of this directory.
pub(crate) fn mechanism(directory: BorrowedFd<'_>) -> QuotaMechanism {
    let kind = rustix::fs::fstatfs(directory).map(|status| u64::try_from(status.f_type).unwrap_or(0));
    match kind {
        Ok(XFS | EXT4) if loam_sys::project_quota::enforces_projects(directory) => QuotaMechanism::Project,
        Ok(BTRFS) if loam_sys::btrfs::counts_subvolumes(directory) => QuotaMechanism::BtrfsQgroup,
        _ => QuotaMechanism::DiskFile,
    }
}

/// What counts without limiting on the file system of this directory, and costs nothing; `None` where nothing does.
pub(crate) fn counting(directory: BorrowedFd<'_>) -> Option<QuotaMechanism> {
    let kind = rustix::fs::fstatfs(directory).map(|status| u64::try_from(status.f_type).unwrap_or(0));
    match kind {
        Ok(XFS | EXT4) if loam_sys::project_quota::counts_projects(directory) => {
            Some(QuotaMechanism::Project)
        }
        Ok(BTRFS) if loam_sys::btrfs::counts_subvolumes(directory) => Some(QuotaMechanism::BtrfsQgroup),
        _ => None,
    }
}

/// Removes what lies in the trash, with everything that counts it; what that is, the directory itself says. Success when
/// there is nothing.
pub(crate) fn remove_buried(path: &Path, places: &Places) -> Result<()> {
    if left_groups::is_note(path) {
        return left_groups::remove_noted(path);
    }
    project::lift(path)?;
    if btrfs::is_place(path) {
        let place = CountedSnapshot { path: path.to_owned(), limit: None, project: None };
        return BtrfsQuota::new(places.clone()).remove(&place);
    }
    crate::staging::delete(path)
}

/// Makes the directory of a place, with those above it where they are missing.
fn make_named(path: &Path) -> Result<OwnedFd> {
    make_directory(path)?;
    open_named(path)
}

fn open_named(path: &Path) -> Result<OwnedFd> {
    open_directory(path)
        .map_err(|error| crate::error::failed(format!("`{}` can't be opened", path.display()), error))
}

/// The directory that holds a place, which stays when the place goes.
fn above(place: &CountedSnapshot) -> &Path {
    place.path.parent().unwrap_or(Path::new("/"))
}
