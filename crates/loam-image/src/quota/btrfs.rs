//! btrfs: `snapshots/CONTAINER` is a subvolume, whose quota group counts it, and may be limited. Works with full and with
//! simple quotas.
//!
//! Quotas are a switch of the whole file system (`btrfs quota enable`), and slow down what it does for others: they are
//! never switched on here. The limit is set when `upper` and `work` are made, so that the least limit is no obstacle to
//! them.
//!
//! Deleting takes the quota group first, then the subvolume, so that a crash in between leaves what still has a name. Newer
//! kernels refuse the first; then the group is taken [later](super::left_groups).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::btrfs;

use super::{CountedSnapshot, DiskQuota, above, left_groups, open_named};
use crate::error::failed;
use crate::staging::{Places, make_directory, open_directory};

/// Limits by subvolume.
#[derive(Debug)]
pub(crate) struct BtrfsQuota {
    places: Places,
}

impl BtrfsQuota {
    pub(super) fn new(places: Places) -> Self {
        Self { places }
    }
}

/// Whether a subvolume is at this path.
pub(super) fn is_place(path: &Path) -> bool {
    let Ok(directory) = open_directory(path) else { return false };
    let kind = rustix::fs::fstatfs(&directory).map(|status| u64::try_from(status.f_type).unwrap_or(0));
    kind == Ok(super::BTRFS) && btrfs::is_subvolume(directory.as_fd())
}

fn name(place: &CountedSnapshot) -> CString {
    let name = place.path.file_name().unwrap_or_default();
    CString::new(name.as_bytes()).expect("an id of a container has no zero byte")
}

/// Gives a place its limit, or takes it away.
fn limit(place: &CountedSnapshot) -> Result<()> {
    let directory = open_named(&place.path)?;
    if !btrfs::is_subvolume(directory.as_fd()) {
        let message = format!("`{}` is no subvolume of its own any more", place.path.display());
        return Err(Failure::new(ErrorKind::Unsupported, message));
    }
    // Through one that is full itself the kernel refuses for lack of room.
    let parent = open_named(above(place))?;
    btrfs::subvolume_of(directory.as_fd())
        .and_then(|id| btrfs::limit_subvolume(parent.as_fd(), id, place.limit))
        .map_err(|error| failed(format!("`{}` can't be limited", place.path.display()), error))
}

/// Asks something of the subvolume at a place.
fn ask(
    place: &CountedSnapshot,
    question: impl Fn(BorrowedFd<'_>, u64) -> io::Result<u64>,
) -> io::Result<u64> {
    let directory = open_directory(&place.path)?;
    question(directory.as_fd(), btrfs::subvolume_of(directory.as_fd())?)
}

impl DiskQuota for BtrfsQuota {
    fn make(&self, place: &CountedSnapshot) -> Result<OwnedFd> {
        make_directory(above(place))?;
        let parent = open_named(above(place))?;
        btrfs::create_subvolume(parent.as_fd(), &name(place)).map_err(|error| {
            failed(format!("the subvolume `{}` can't be made", place.path.display()), error)
        })?;
        let directory = open_named(&place.path)?;
        rustix::fs::fchmod(&directory, rustix::fs::Mode::RWXU)
            .map_err(|error| failed(format!("`{}` can't be made", place.path.display()), error))?;
        Ok(directory)
    }

    fn seal(&self, place: &CountedSnapshot, _sync: bool) -> Result<()> {
        if place.limit.is_some() { limit(place) } else { Ok(()) }
    }

    fn change(&self, place: &CountedSnapshot) -> Result<()> {
        if !btrfs::counts_subvolumes(open_named(&place.path)?.as_fd()) {
            let message = format!(
                "the quotas of the file system of `{}` are off or inconsistent",
                place.path.display()
            );
            return Err(
                Failure::new(ErrorKind::Unsupported, message).hint("`btrfs quota rescan` counts anew")
            );
        }
        limit(place)
    }

    fn is_whole(&self, place: &CountedSnapshot) -> bool {
        match place.limit {
            Some(_) => ask(place, btrfs::most_referenced).is_ok_and(|limit| limit > 0),
            None => is_place(&place.path) && place.path.join("upper").is_dir(),
        }
    }

    fn disk(&self, _place: &CountedSnapshot) -> Option<PathBuf> {
        None
    }

    fn used(&self, place: &CountedSnapshot) -> Result<Option<u64>> {
        ask(place, btrfs::referenced)
            .map(Some)
            .map_err(|error| failed(format!("`{}` can't be counted", place.path.display()), error))
    }

    fn remove(&self, place: &CountedSnapshot) -> Result<()> {
        let failure =
            |error| failed(format!("the subvolume `{}` can't be removed", place.path.display()), error);
        let directory = match open_directory(&place.path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failure(error)),
        };
        if !btrfs::is_subvolume(directory.as_fd()) {
            return self.places.discard(&place.path);
        }
        let parent = open_named(above(place))?;
        let id = btrfs::subvolume_of(directory.as_fd()).map_err(failure)?;
        if let Err(error) = btrfs::remove_quota_group(parent.as_fd(), id) {
            tracing::debug!(subvolume = id, %error, "the quota group is left for later");
            left_groups::note(parent.as_fd(), id, &self.places);
        }
        drop(directory);
        match btrfs::destroy_subvolume(parent.as_fd(), &name(place)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failure(error)),
            _ => {}
        }
        left_groups::remove_some(&self.places);
        Ok(())
    }
}
