//! The working directory, which has to be there: not every runtime makes it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use loam_model::{CopiedOwners, ErrorKind, Failure, IdMapping};
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// Makes what is missing of a path in a root file system, as its root.
pub(super) fn make(root: &OwnedFd, path: &Path, owners: &CopiedOwners) -> Result<(), Failure> {
    let unmade = |errno: Errno| {
        let message = format!("the working directory `{}` can't be made", path.display());
        Failure::new(ErrorKind::of_io(&errno.into()), message).caused_by(errno)
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let open = |path: &Path| loam_sys::open_in_root(root, path, flags, ResolveFlags::empty());
    let id =
        |mapping: &Option<IdMapping>| mapping.as_ref().and_then(|mapping| mapping.to_host(0)).unwrap_or(0);
    let (user, group) = (Uid::from_raw(id(&owners.users)), Gid::from_raw(id(&owners.groups)));
    let mut above = PathBuf::from("/");
    for name in path.components().skip(1) {
        let parent = open(&above).map_err(unmade)?;
        above.push(name);
        match open(&above) {
            Err(Errno::NOENT) => {}
            Ok(_) => continue,
            Err(errno) => return Err(unmade(errno)),
        }
        let name = name.as_os_str();
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map_err(unmade)?;
        let made = open(&above).map_err(unmade)?;
        rustix::fs::fchown(&made, Some(user), Some(group)).map_err(unmade)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755)).map_err(unmade)?;
    }
    Ok(())
}
