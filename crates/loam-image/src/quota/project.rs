//! Project quotas of XFS and ext4: everything below `snapshots/CONTAINER` has a project id, and the file system counts
//! and limits what that takes.
//!
//! The id is given to the directory while it is empty; what is made in it inherits the id. It is set, and the limit with
//! it, before anything can be written; a limit that somebody left on the id is lifted when there is to be none. When the snapshot goes, the limit is lifted, its tree is moved to
//! `trash/quota-CONTAINER`, a name that a second attempt knows, and deleted there. The row with the id goes last, so that no
//! id is given to another container while files have it. The limit that is lifted is that of the id which the tree has,
//! not of the one in the row: a power cut can set a row back to an id that turned out to be somebody else's, and where
//! there is no tree yet nothing was limited.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::project_quota;
use rustix::io::Errno;

use super::{CountedSnapshot, DiskQuota, make_named, open_named};
use crate::error::failed;
use crate::staging::{Places, open_directory};

/// Limits by project id.
#[derive(Debug)]
pub(crate) struct ProjectQuota {
    places: Places,
}

impl ProjectQuota {
    pub(super) fn new(places: Places) -> Self {
        Self { places }
    }
}

fn project(place: &CountedSnapshot) -> Result<u32> {
    place.project.ok_or_else(|| {
        Failure::new(ErrorKind::Internal, format!("`{}` has no project id", place.path.display()))
    })
}

/// Whether somebody has files under this project id on the file system that holds the snapshots. A limit alone is none:
/// it outlived what it was for, and whoever gets the id sets it anew.
pub(crate) fn is_in_use(places: &Places, project: u32) -> Result<bool> {
    let root = open_named(&places.root)?;
    let usage = project_quota::project_usage(root.as_fd(), project)
        .map_err(|error| failed(format!("project {project} can't be counted"), error))?;
    Ok(usage.bytes > 0 || usage.inodes > 0)
}

impl DiskQuota for ProjectQuota {
    fn make(&self, place: &CountedSnapshot) -> Result<OwnedFd> {
        let project = project(place)?;
        let directory = make_named(&place.path)?;
        project_quota::set_project(directory.as_fd(), project).map_err(|error| {
            failed(format!("`{}` can't be given a project id", place.path.display()), error)
        })?;
        let stands = || project_quota::project_usage(directory.as_fd(), project).map(|usage| usage.limit > 0);
        let limit = |bytes| project_quota::limit_project(directory.as_fd(), project, bytes);
        let limited = match place.limit {
            Some(bytes) => limit(bytes),
            None => stands().and_then(|stands| if stands { limit(0) } else { Ok(()) }),
        };
        limited.map_err(|error| failed(format!("`{}` can't be limited", place.path.display()), error))?;
        Ok(directory)
    }

    fn seal(&self, _place: &CountedSnapshot, _sync: bool) -> Result<()> {
        Ok(())
    }

    fn change(&self, place: &CountedSnapshot) -> Result<()> {
        let directory = open_named(&place.path)?;
        if !project_quota::enforces_projects(directory.as_fd()) {
            let message = format!(
                "the file system of `{}` counts by project and enforces no limits",
                place.path.display()
            );
            return Err(Failure::new(ErrorKind::Unsupported, message).hint("mount it with `prjquota`"));
        }
        project_quota::limit_project(directory.as_fd(), project(place)?, place.limit.unwrap_or(0))
            .map_err(|error| failed(format!("`{}` can't be limited", place.path.display()), error))
    }

    fn is_whole(&self, place: &CountedSnapshot) -> bool {
        place.path.join("upper").is_dir()
    }

    fn disk(&self, _place: &CountedSnapshot) -> Option<PathBuf> {
        None
    }

    fn used(&self, place: &CountedSnapshot) -> Result<Option<u64>> {
        let directory = open_named(&place.path)?;
        let usage = project_quota::project_of(directory.as_fd())
            .and_then(|project| project_quota::project_usage(directory.as_fd(), project))
            .map_err(|error| failed(format!("`{}` can't be counted", place.path.display()), error))?;
        Ok(Some(usage.bytes))
    }

    fn remove(&self, place: &CountedSnapshot) -> Result<()> {
        let name = place.path.file_name().unwrap_or_default().to_string_lossy();
        let grave = format!("quota-{name}");
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        if !is_there(&place.path) && !is_there(&self.places.trash().join(&grave)) {
            return Ok(());
        }
        lift(&place.path)?;
        lift(&self.places.trash().join(&grave))?;
        // What an attempt before this one left there stands in the way.
        self.places.delete_trash(&grave)?;
        self.places.discard_as(&place.path, &grave)
    }
}

/// Lifts the limit of the project that a directory is the top of; one that has its project from above, or none, is none of
/// ours. Success when there is nothing.
pub(crate) fn lift(path: &Path) -> Result<()> {
    let Ok(directory) = open_directory(path) else { return Ok(()) };
    let above = path.parent().map(open_directory);
    let inherited = above.and_then(|above| project_quota::project_of(above.ok()?.as_fd()).ok());
    // File systems without projects know of none.
    let project = project_quota::project_of(directory.as_fd()).unwrap_or(0);
    if project == 0 || Some(project) == inherited {
        return Ok(());
    }
    if project_quota::project_usage(directory.as_fd(), project).is_ok_and(|usage| usage.limit == 0) {
        return Ok(());
    }
    match project_quota::limit_project(directory.as_fd(), project, 0) {
        // The file system is mounted without quotas today: nothing counts.
        Err(error) if is_without_quotas(&error) => Ok(()),
        lifted => {
            lifted.map_err(|error| failed(format!("the limit of project {project} can't be lifted"), error))
        }
    }
}

fn is_without_quotas(error: &io::Error) -> bool {
    let number = Errno::from_io_error(error);
    matches!(number, Some(Errno::NOENT | Errno::SRCH | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL))
}
