//! Room for the mount in a root file system that is at its disk limit.
//!
//! With every mount overlayfs makes its work directory anew, and tries in it what the file system can do. Where there is
//! no room for that, it mounts the file system read-only, or does without what it could not try (Linux,
//! `fs/overlayfs/super.c`, `ovl_get_workdir`): whoever is at the limit could not even delete. So the limit is as good as lifted
//! until the mount is there. Nothing else writes meanwhile: the container does not run yet, and the caller keeps others from
//! changing the limit. A process that dies in between leaves that limit to a container that does not run; the next mount puts it
//! right.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, QuotaMechanism, Result, RootfsPlan};
use loam_sys::{btrfs, project_quota};
use rustix::fs::{Mode, OFlags};

/// Bytes that no file system has, far from where sums with them would not fit.
const AS_GOOD_AS_NONE: u64 = 1 << 50;

/// Room that there must be for a mount, in bytes: file systems want it for the worst case of each step.
const ROOM: u64 = 16 << 20;

/// A limit that is lifted.
pub(crate) struct Headroom {
    place: PathBuf,
    /// The directory that it is in, by which the file system is asked: through the place itself btrfs refuses for lack of room.
    above: OwnedFd,
    counter: Counter,
    /// The limit that it has.
    limit: u64,
}

/// What counts the files of a directory, and of no other, and limits them.
#[derive(Clone, Copy)]
enum Counter {
    Project(u32),
    Subvolume(u64),
}

impl Headroom {
    /// Lifts the limit of a plan, where it has one and there may be no room within it. What can't be found out or lifted is
    /// left to the mount, which may need no room.
    pub(crate) fn take(plan: &RootfsPlan) -> Option<Self> {
        // The snapshot's directory has the project id, or is the subvolume. `upper` is the container's root, whose id a
        // container may have changed.
        let place = plan.upper.as_deref().and_then(Path::parent)?;
        let limit = plan.limit?;
        let above = open(place.parent()?).ok()?;
        let counter = Counter::of(open(place).ok()?.as_fd(), above.as_fd(), limit.mechanism)?;
        if counter.has_room(above.as_fd(), limit.bytes) {
            return None;
        }
        counter.set(above.as_fd(), AS_GOOD_AS_NONE).ok()?;
        Some(Self { place: place.to_owned(), above, counter, limit: limit.bytes })
    }

    /// Sets the limit again.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when that can't be done: then nothing limits what is mounted.
    pub(crate) fn give_back(self) -> Result<()> {
        self.counter.set(self.above.as_fd(), self.limit).map_err(|error| {
            let message = format!("the disk limit of `{}` can't be set", self.place.display());
            Failure::new(ErrorKind::Internal, message).caused_by(error)
        })
    }
}

fn open(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::empty())?)
}

impl Counter {
    /// What counts this directory; `None` where nothing enforces limits today, or what does counts others, too: somebody may have
    /// copied the store to where its directories are no subvolumes and have no projects.
    fn of(directory: BorrowedFd<'_>, above: BorrowedFd<'_>, mechanism: QuotaMechanism) -> Option<Self> {
        match mechanism {
            QuotaMechanism::Project if project_quota::enforces_projects(directory) => {
                let project = project_quota::project_of(directory).ok()?;
                let inherited = project_quota::project_of(above).ok()?;
                (project != 0 && project != inherited).then_some(Self::Project(project))
            }
            QuotaMechanism::BtrfsQgroup if btrfs::has_quotas(directory) && btrfs::is_subvolume(directory) => {
                btrfs::subvolume_of(directory).ok().map(Self::Subvolume)
            }
            _ => None,
        }
    }

    /// Whether this limit stands and leaves room for a mount. What btrfs tells is of its last commit, so that it is not known
    /// there.
    fn has_room(self, on: BorrowedFd<'_>, limit: u64) -> bool {
        let Self::Project(project) = self else { return false };
        project_quota::project_usage(on, project)
            .is_ok_and(|usage| usage.has_limit(limit) && usage.bytes.saturating_add(ROOM) <= limit)
    }

    fn set(self, on: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
        match self {
            Self::Project(project) => project_quota::limit_project(on, project, bytes),
            Self::Subvolume(id) => btrfs::limit_subvolume(on, id, Some(bytes)),
        }
    }
}
