//! Snapshots: `snapshots/CONTAINER/{upper,work}`, and a row for each. On the path of every start, so few system calls.

mod counted;
mod lookup;
mod orphans;
mod projects;
mod rows;
mod usage;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loam_model::{
    ContainerId, Digest, ErrorKind, Failure, IdMapping, QuotaMechanism, Result, RootfsLimit, RootfsPlan,
    SnapshotRequest,
};
use loam_unpack::copy_attributes;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::failed;
use crate::staging::{make_directory, open_directory};
use crate::{LayerStore, catalog, quota};
pub(crate) use counted::{Counted, enforced, layers_exceed};
pub(crate) use lookup::counted_image;
use rows::Recorded;

/// Directories that overlayfs leaves in its work directory, the deepest first.
const LEFT_BY_OVERLAYFS: [&str; 3] = ["work/work/incompat/volatile", "work/work/incompat", "work/work"];

impl LayerStore {
    pub(crate) fn snapshot_path(&self, container: &ContainerId) -> PathBuf {
        self.places.snapshots().join(container.as_str())
    }

    pub(crate) fn make_snapshot(&self, request: &SnapshotRequest<'_>) -> Result<()> {
        self.database.require_space()?;
        // The row comes first: a directory can then always be found, and removed, by it.
        let recorded = self.record_snapshot(request)?;
        let path = self.snapshot_path(request.container);
        let made = match &recorded.counted {
            None => self.make_directories(&path, recorded.top.as_deref()),
            Some(counted) => match self.make_counted(&path, &recorded, counted, request.ephemeral) {
                Err(failure) if counted.limit.is_none() => {
                    // Nothing was promised, and what really stands in the way does so again.
                    tracing::debug!(path = %path.display(), error = %failure.chain(), "it is not counted");
                    self.remove_counted(&path, counted)
                        .and_then(|()| self.count_no_more(request.container))
                        .and_then(|()| self.make_directories(&path, recorded.top.as_deref()))
                }
                made => made,
            },
        };
        made.inspect_err(|_| {
            // The failure that counts is the one before.
            self.drop_snapshot(request.container).ok();
        })
    }

    /// Makes `upper` and `work`; `upper` appears with the attributes of the image's root, or not at all.
    fn make_directories(&self, path: &Path, top: Option<&str>) -> Result<()> {
        let what = |error: Errno| failed(format!("the snapshot `{}` can't be made", path.display()), error);
        let made = match rustix::fs::mkdir(path, Mode::RWXU) {
            Err(Errno::NOENT) => {
                make_directory(&self.places.snapshots())?;
                rustix::fs::mkdir(path, Mode::RWXU)
            }
            other => other,
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) if path.join("upper").is_dir() => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(what(error)),
        }
        let directory = open_directory(path)
            .map_err(|error| failed(format!("the snapshot `{}` can't be made", path.display()), error))?;
        self.fill(&directory, path, top)
    }

    /// Makes a place that is counted, and perhaps limited, and both directories in it.
    fn make_counted(
        &self,
        path: &Path,
        recorded: &Recorded,
        counted: &Counted,
        ephemeral: bool,
    ) -> Result<()> {
        let quota = quota::quota(counted.mechanism, &self.places);
        let place = counted.place(path);
        if quota.is_whole(&place) {
            return Ok(());
        }
        if path.exists() {
            // Half made, by a process that died.
            quota.remove(&place)?;
        }
        let directory = quota.make(&place)?;
        self.fill(&directory, path, recorded.top.as_deref())?;
        drop(directory);
        quota.seal(&place, !ephemeral)
    }

    /// Makes the two directories of the snapshot at `path` in this directory.
    fn fill(&self, directory: &OwnedFd, path: &Path, top: Option<&str>) -> Result<()> {
        let io = |error: io::Error| failed(format!("the snapshot `{}` can't be made", path.display()), error);
        for name in ["work", "upper.new"] {
            match rustix::fs::mkdirat(directory, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io(error.into())),
            }
        }
        let lower = match top {
            Some(top) => self.places.diff(top),
            None => self.empty_layer()?,
        };
        let lower = open_directory(&lower)
            .map_err(|error| failed(format!("the layer `{}` can't be opened", lower.display()), error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let upper = rustix::fs::openat(directory, "upper.new", flags, Mode::empty())
            .map_err(|error| io(error.into()))?;
        copy_attributes(lower.as_fd(), upper.as_fd()).map_err(io)?;
        rustix::fs::renameat(directory, "upper.new", directory, "upper").map_err(|error| io(error.into()))
    }

    /// The directory that stands for the layers of an image that has none; overlayfs wants at least one.
    fn empty_layer(&self) -> Result<PathBuf> {
        let empty = self.places.empty();
        make_directory(&empty)?;
        rustix::fs::chmod(&empty, Mode::from_raw_mode(0o755))
            .map_err(|error| failed(format!("`{}` can't be made", empty.display()), error))?;
        Ok(empty)
    }

    pub(crate) fn plan(&self, container: &ContainerId, mapping: Option<&IdMapping>) -> Result<RootfsPlan> {
        let Some(layers) = self.snapshot_layers(container)? else { return Err(no_snapshot(container)) };
        let lower = self.lower(&layers.directories);
        let path = self.snapshot_path(container);
        let disk = layers
            .counted
            .and_then(|counted| quota::quota(counted.mechanism, &self.places).disk(&counted.place(&path)));
        let limit = match layers.counted {
            Some(Counted { limit: Some(bytes), mechanism, .. }) if disk.is_none() => {
                // Later, somebody else would do so while it is mounted.
                self.undo_any_limit_change(container);
                Some(RootfsLimit { mechanism, bytes })
            }
            _ => None,
        };
        let above = if disk.is_some() { PathBuf::new() } else { path };
        Ok(RootfsPlan {
            lower,
            upper: Some(above.join("upper")),
            work: Some(above.join("work")),
            disk,
            limit,
            mapping: mapping.cloned(),
            volatile: layers.ephemeral,
        })
    }

    /// The plan of an image without anything above it, read-only.
    pub(crate) fn image_plan(&self, image: &Digest) -> Result<RootfsPlan> {
        let id = image.to_string();
        let directories = self.database.read(|connection| catalog::directories(connection, &id))?;
        if directories.is_empty() {
            self.empty_layer()?;
        }
        let lower = self.lower(&directories);
        Ok(RootfsPlan {
            lower,
            upper: None,
            work: None,
            disk: None,
            limit: None,
            mapping: None,
            volatile: false,
        })
    }

    /// The paths of layers, the topmost first.
    fn lower(&self, directories: &[String]) -> Vec<PathBuf> {
        // An image may have a layer twice, overlayfs may not; the upper one hides all that the lower one has.
        let mut seen = HashSet::with_capacity(directories.len());
        let first = directories.iter().filter(|directory| seen.insert(directory.as_str()));
        let mut lower: Vec<PathBuf> = first.map(|directory| self.places.diff(directory)).collect();
        if lower.is_empty() {
            lower.push(self.places.empty());
        }
        lower
    }

    pub(crate) fn drop_snapshot(&self, container: &ContainerId) -> Result<()> {
        let path = self.snapshot_path(container);
        match self.snapshot_counted(container)? {
            None => self.delete_directories(&path)?,
            Some(counted) => self.remove_counted(&path, &counted)?,
        }
        match self.forget_snapshot(container)? {
            Some(dropped) => self.delete_dropped(&dropped),
            None => Ok(()),
        }
    }

    fn remove_counted(&self, path: &Path, counted: &Counted) -> Result<()> {
        if counted.limit.is_none() && counted.mechanism == QuotaMechanism::Project {
            // A limit is there when a process died that was about to write it down.
            quota::project::lift(path)?;
            if delete_empty(path) {
                return Ok(());
            }
        }
        quota::quota(counted.mechanism, &self.places).remove(&counted.place(path))
    }

    fn delete_directories(&self, path: &Path) -> Result<()> {
        if delete_empty(path) {
            return Ok(());
        }
        // Renamed first, so that nobody ever sees half of it.
        self.places.discard(path)
    }
}

/// Deletes the snapshot of a container that wrote nothing: five directories, one call each. False when there is more, or
/// nothing.
fn delete_empty(path: &Path) -> bool {
    let Ok(directory) = open_directory(path) else { return false };
    let rmdir = |name: &str| rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR);
    if !matches!(rmdir("upper"), Ok(()) | Err(Errno::NOENT)) {
        return false;
    }
    for name in LEFT_BY_OVERLAYFS {
        rmdir(name).ok();
    }
    rmdir("work").ok();
    fs::remove_dir(path).is_ok()
}

fn no_snapshot(container: &ContainerId) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("container `{container}` has no snapshot"))
}
