//! The directories that an image calls its volumes (image specification, config.md: `Volumes`).

use std::os::fd::{AsFd, OwnedFd};

use loam_model::{Failure, IdMapping, Result};
use loam_sys::open_in_root;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{as_container_root, kind_of};

/// Makes the volumes of an image where it does not have them, as the container's root. Paths are followed as the
/// container would; where a file or a link to nowhere is in the way it stays.
pub fn make_volume_directories(
    root: &OwnedFd,
    mapping: Option<&IdMapping>,
    volumes: &[String],
) -> Result<()> {
    let missing =
        volumes.iter().filter(|volume| open(root, volume).is_err_and(|errno| errno == Errno::NOENT));
    let missing: Vec<&String> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    as_container_root(mapping, || {
        missing.into_iter().try_for_each(|volume| {
            make_all(root, volume).map_err(|errno| {
                let message = format!("the image's volume `{volume}` can't be made in the root file system");
                Failure::new(kind_of(errno), message).caused_by(errno)
            })
        })
    })?
}

fn open(root: &OwnedFd, path: &str) -> std::result::Result<OwnedFd, Errno> {
    open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty())
}

/// Makes a directory and those above it.
fn make_all(root: &OwnedFd, path: &str) -> std::result::Result<(), Errno> {
    let mut below = None;
    for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
        let name = path[..end].rsplit('/').next().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        let parent = below.as_ref().unwrap_or(root);
        let made = match open(root, &path[..end]) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(parent.as_fd(), name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => open(root, &path[..end]),
                    // A link to nowhere, or a root file system that nobody writes to.
                    Err(Errno::EXIST | Errno::ROFS) => return Ok(()),
                    Err(errno) => return Err(errno),
                }
            }
            Err(Errno::NOTDIR) => return Ok(()),
            opened => opened,
        };
        below = Some(made?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_missing_is_made_within_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        fs::create_dir_all(path.join("a")).unwrap();
        fs::write(path.join("file"), "").unwrap();
        symlink("/a", path.join("link")).unwrap();
        symlink("/../../up", path.join("nowhere")).unwrap();
        let root = OwnedFd::from(fs::File::open(&path).unwrap());
        let volumes =
            ["/a", "/b//c/", "d", "/link/e/f", "/file/g", "/nowhere", "/nowhere/h", "/../up/i", "/"];
        make_volume_directories(&root, None, &volumes.map(str::to_owned)).unwrap();
        for made in ["b/c", "d", "a/e/f", "up/i"] {
            assert!(path.join(made).is_dir(), "{made}");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 7, "nothing else");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing outside");
    }
}
