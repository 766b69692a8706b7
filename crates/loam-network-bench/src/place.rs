//! Where a worker works: mount and network namespaces of its own.
//!
//! ```text
//! /run, /var/lib        empty file systems in memory: whatever plugins keep is there, and nothing of the host's is
//! /run/loam-bench/
//!   plugins/            the contender's directory, or links to our program under each plugin's name
//!   loam-cni            our program
//!   ns/ID               the namespace of a container
//! /sys                  shows the links of this network namespace
//! ```
//!
//! All of it goes with the worker, which is the only one in these namespaces.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use loam_cni::Plugin;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use crate::chain::Way;
use crate::contender::{Contender, Plugins};

/// The directory of a worker, in memory.
pub(crate) const DIRECTORY: &str = "/run/loam-bench";
/// Where plugins keep what they know of attachments.
pub(crate) const STATE: [&str; 2] = ["/run", "/var/lib"];

/// Why a worker can't have a place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("`{0}` can't be opened")]
    Open(PathBuf, #[source] io::Error),
    #[error("namespaces can't be made")]
    Namespaces(#[source] io::Error),
    #[error("mounting `{0}` failed")]
    Mount(PathBuf, #[source] io::Error),
    #[error("making `{0}` failed")]
    Make(PathBuf, #[source] io::Error),
}

/// Moves this process, which must have one thread, into namespaces of its own; tells how the contender's plugins are
/// called there.
pub(crate) fn enter(contender: &Contender) -> Result<Way, PlaceError> {
    loam_sys::new_mount_namespace().map_err(PlaceError::Namespaces)?;
    loam_sys::new_network_namespace().map_err(PlaceError::Namespaces)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| PlaceError::Mount("/".into(), error.into()))?;
    // Opened before what it lies in may be covered.
    let plugins = contender.path().map(|path| open(path)).transpose()?;
    for directory in STATE {
        mount_fresh("tmpfs", directory, MountFlags::NOSUID | MountFlags::NODEV)?;
    }
    mount_fresh("sysfs", "/sys", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC)?;
    loam_sys::bring_loopback_up().map_err(PlaceError::Namespaces)?;
    let directory = Path::new(DIRECTORY);
    make_directory(&directory.join("ns"))?;
    let programs = directory.join("plugins");
    match (&contender.plugins, plugins) {
        (Plugins::Directory(_), Some(opened)) => {
            make_directory(&programs)?;
            bind(&opened, &programs)?;
        }
        (Plugins::MultiCall(_), Some(opened)) => {
            make_directory(&programs)?;
            let program = directory.join("loam-cni");
            File::create(&program).map_err(|error| PlaceError::Make(program.clone(), error))?;
            bind(&opened, &program)?;
            for plugin in Plugin::ALL {
                let link = programs.join(plugin.name);
                symlink(&program, &link).map_err(|error| PlaceError::Make(link, error))?;
            }
        }
        _ => return Ok(Way::InProcess),
    }
    Ok(Way::Programs(programs))
}

fn open(path: &Path) -> Result<OwnedFd, PlaceError> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| PlaceError::Open(path.to_owned(), error.into()))
}

fn bind(opened: &OwnedFd, target: &Path) -> Result<(), PlaceError> {
    mount_bind(format!("/proc/self/fd/{}", opened.as_raw_fd()), target)
        .map_err(|error| PlaceError::Mount(target.to_owned(), error.into()))
}

fn mount_fresh(kind: &str, target: &str, flags: MountFlags) -> Result<(), PlaceError> {
    mount(kind, target, kind, flags, None).map_err(|error| PlaceError::Mount(target.into(), error.into()))
}

fn make_directory(path: &Path) -> Result<(), PlaceError> {
    fs::create_dir_all(path).map_err(|error| PlaceError::Make(path.to_owned(), error))
}
