//! The root of a container's file system.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use loam_model::{ArchiveRequest, ErrorKind, Failure, IdMapping, Result, RootfsPlan, shown_bytes};
use loam_rootfs::{IdMaps, kind_of, mount_root};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

/// The owner shown for ids that the container does not have (`overflowuid`).
const NOBODY: u32 = 65_534;

/// A handle of the root, and the container's ids.
#[derive(Debug)]
pub(super) struct Root {
    handle: OwnedFd,
    pub(super) mapping: Option<IdMapping>,
}

impl Root {
    pub(super) fn open(request: &ArchiveRequest) -> Result<Self> {
        let handle = match request.pid {
            Some(pid) => match open_running(pid, request.start_time) {
                Ok(Some(handle)) => handle,
                Ok(None) | Err(Errno::NOENT | Errno::SRCH) => {
                    let message = format!("container `{}` is not running any more", request.id);
                    return Err(Failure::new(ErrorKind::Conflict, message));
                }
                Err(errno) => {
                    let message = format!("the file system of container `{}` can't be opened", request.id);
                    return Err(Failure::new(kind_of(errno), message).caused_by(errno));
                }
            },
            None => mount(&request.rootfs)?,
        };
        Ok(Self { handle, mapping: request.rootfs.mapping.clone() })
    }

    /// A root for tests: any directory.
    #[cfg(test)]
    pub(super) fn of(directory: &Path, mapping: Option<IdMapping>) -> Self {
        let handle = rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Self { handle, mapping }
    }

    /// Opens a path of the container, following its links within the root.
    pub(super) fn resolve(&self, path: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        loam_sys::open_in_root(&self.handle, path, flags, ResolveFlags::empty())
    }

    /// The container's id for one that we see.
    pub(super) fn to_container(&self, host: u32) -> u32 {
        let Some(mapping) = &self.mapping else { return host };
        let range = mapping.ranges.iter().find(|range| host >= range.host && host - range.host < range.size);
        range.map_or(NOBODY, |range| range.container + (host - range.host))
    }

    /// The id to give to a file that an archive says belongs to an id of the container.
    pub(super) fn to_host(&self, container: u64) -> Option<u32> {
        let container = u32::try_from(container).ok()?;
        match &self.mapping {
            Some(mapping) => mapping.to_host(container),
            None => Some(container),
        }
    }
}

/// Opens the root of a process; `None` when the process with this id was started at another time. The directory in
/// `/proc` stays that of one process, so that what it says afterwards is said of the one whose root was opened.
fn open_running(pid: i32, start_time: Option<u64>) -> std::result::Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let process = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?;
    let root = rustix::fs::openat(&process, "root", flags, Mode::empty())?;
    let started = read_start_time(&process)?;
    Ok((started.is_some() && started == start_time).then_some(root))
}

/// When the process with this directory was started.
fn read_start_time(process: &OwnedFd) -> std::result::Result<Option<u64>, Errno> {
    let stat = rustix::fs::openat(process, "stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    File::from(stat)
        .read_to_end(&mut text)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(loam_sys::Stat::parse(&text).map(|stat| stat.start_time))
}

/// Mounts the plan where nobody else sees it.
fn mount(plan: &RootfsPlan) -> Result<OwnedFd> {
    let internal = |cause: std::io::Error| {
        Failure::new(ErrorKind::Internal, "a mount namespace can't be made").caused_by(cause)
    };
    loam_sys::new_mount_namespace().map_err(internal)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|errno| internal(errno.into()))?;
    // Any directory serves to mount on; the layers have been opened by then.
    let target = plan
        .lower
        .first()
        .ok_or_else(|| Failure::new(ErrorKind::Invalid, "a root file system needs at least one layer"))?;
    let lasting = RootfsPlan { volatile: false, ..plan.clone() };
    mount_root(&lasting, None, &mut IdMaps::default(), target)
}

/// A failure to do something with a path of the container.
pub(super) fn failure(path: &[u8], what: &str, errno: Errno) -> Failure {
    let shown = shown_bytes(path);
    match errno {
        Errno::NOENT => {
            Failure::new(ErrorKind::NotFound, format!("`{shown}` does not exist in the container"))
        }
        Errno::NOTDIR => {
            Failure::new(ErrorKind::Invalid, format!("`{shown}` is not a directory of the container"))
        }
        errno => Failure::new(kind_of(errno), format!("`{shown}` can't be {what}")).caused_by(errno),
    }
}
