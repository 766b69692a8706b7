//! Room for the mount in a root file system that is at its disk limit.
//!
//! With every mount overlayfs makes its work directory anew, and tries in it what the file system can do. Where there is
//! no room for that, it mounts the file system read-only, or does without what it could not try (Linux,
//! `fs/overlayfs/super.c`, `ovl_get_workdir`): whoever is at the limit could not even delete. So the limit is raised until
//! the mount is there. Nothing else writes meanwhile: the container does not run yet, and the caller keeps others from
//! changing the limit. A process that dies in between leaves a limit that is too high to a container that does not run; the next
//! mount puts it right.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, QuotaMechanism, Result, RootfsPlan};
use loam_sys::{btrfs, project_quota};
use rustix::fs::{Mode, OFlags};

/// Bytes, far more than a mount takes: file systems want room for the worst case of each step.
const HEADROOM: u64 = 16 << 20;

/// What counts the files of a directory, and limits them.
#[derive(Clone, Copy)]
enum Counter {
    Project(u32),
    Subvolume(u64),
}

/// Mounts the plan, with room to do so whatever its writable directory holds.
///
/// # Errors
/// Those of the mount; and [`ErrorKind::Internal`] when the limit can't be set again.
pub(crate) fn with_headroom<T>(plan: &RootfsPlan, mount: impl FnOnce() -> Result<T>) -> Result<T> {
    let (Some(limit), Some(upper)) = (plan.limit, &plan.upper) else { return mount() };
    let place = upper.parent().unwrap_or(Path::new("/"));
    let failed = |error: io::Error| {
        let message = format!("the disk limit of `{}` can't be set", place.display());
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(place, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let on = directory.as_fd();
    let Some(counter) = Counter::of(on, limit.mechanism).map_err(failed)? else { return mount() };
    let Some(raised) = counter.raised(on, limit.bytes) else { return mount() };
    counter.set(on, raised).map_err(failed)?;
    let mounted = mount();
    counter.set(on, limit.bytes).map_err(failed)?;
    mounted
}

impl Counter {
    /// What counts this directory; `None` where nothing enforces limits today.
    fn of(directory: BorrowedFd<'_>, mechanism: QuotaMechanism) -> io::Result<Option<Self>> {
        Ok(match mechanism {
            QuotaMechanism::Project if project_quota::enforces_projects(directory) => {
                Some(Self::Project(project_quota::project_of(directory)?))
            }
            QuotaMechanism::BtrfsQgroup if btrfs::quota_groups(directory)?.is_dir() => {
                Some(Self::Subvolume(btrfs::subvolume_of(directory)?))
            }
            _ => None,
        })
    }

    /// The limit that leaves room for a mount, instead of this one; `None` when this one stands and does.
    fn raised(self, on: BorrowedFd<'_>, limit: u64) -> Option<u64> {
        let used = match self {
            Self::Project(project) => {
                let usage = project_quota::project_usage(on, project).unwrap_or_default();
                let stands = usage.limit.abs_diff(limit) < project_quota::BASIC_BLOCK;
                if stands && usage.bytes.saturating_add(HEADROOM) <= limit {
                    return None;
                }
                usage.bytes
            }
            // It may have taken more since that was counted.
            Self::Subvolume(id) => btrfs::quota_group_figure(on, id, "referenced").unwrap_or(0),
        };
        Some(used.max(limit).saturating_add(HEADROOM))
    }

    fn set(self, on: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
        match self {
            Self::Project(project) => project_quota::limit_project(on, project, bytes),
            Self::Subvolume(id) => btrfs::limit_subvolume(on, id, Some(bytes)),
        }
    }
}
