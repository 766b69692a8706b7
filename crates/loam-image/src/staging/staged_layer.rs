//! Staged layers: locked directories that become layers, or go.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;

use loam_model::Result;
use loam_unpack::Destination;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::places::{BLOB, SPLIT};
use super::{Places, is_at, make_directory, open_directory, random_id};
use crate::error::failed;

/// A layer's directory on its way into the store. As long as this lives, the directory is locked, wherever it is; a
/// directory without a row in the database that nobody has locked is garbage.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    places: Places,
    id: String,
    /// Open, and locked with flock(2).
    directory: OwnedFd,
    published: bool,
    committed: bool,
}

impl StagedLayer {
    /// Makes an empty one.
    pub(crate) fn new(places: &Places) -> Result<Self> {
        let staging = places.staging();
        loop {
            let id = random_id();
            let path = staging.join(&id);
            let what = || format!("the directory `{}` can't be made", path.display());
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::NOENT) => {
                    make_directory(&staging)?;
                    continue;
                }
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed(what(), error)),
            }
            // A sweep may come between; then its lock, or the missing directory, tells.
            let directory = match open_directory(&path) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    fs::remove_dir(&path).ok();
                    return Err(failed(what(), error));
                }
            };
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&directory, &path) => {}
                Ok(()) | Err(Errno::WOULDBLOCK) => continue,
                Err(error) => {
                    fs::remove_dir(&path).ok();
                    return Err(failed(what(), error));
                }
            }
            plain(&directory).map_err(|error| failed(what(), error))?;
            rustix::fs::mkdirat(&directory, "diff", Mode::RWXU).map_err(|error| failed(what(), error))?;
            let staged = Self { places: places.clone(), id, directory, published: false, committed: false };
            plain(&staged.diff()?).map_err(|error| failed(what(), error))?;
            return Ok(staged);
        }
    }

    /// The name of the directory in `layers`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Opens the directory that holds the layer's files.
    pub(crate) fn diff(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, "diff", flags, Mode::empty())
            .map_err(|error| failed(format!("the staged layer `{}` can't be opened", self.id), error))
    }

    /// The same, and a file for what the layer's tar has beside the files' data.
    pub(crate) fn destination(&self) -> Result<Destination> {
        Ok(Destination { files: self.diff()?, split: self.make(SPLIT)? })
    }

    /// A file for the layer's blob.
    pub(crate) fn blob(&self) -> Result<File> {
        self.make(BLOB)
    }

    fn make(&self, name: &str) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed(format!("the staged layer `{}` can't be written", self.id), error))?;
        Ok(File::from(file))
    }

    /// Removes that file again: what it holds is not all.
    pub(crate) fn forget_split(&self) -> Result<()> {
        rustix::fs::unlinkat(&self.directory, SPLIT, AtFlags::empty())
            .map_err(|error| failed(format!("the staged layer `{}` can't be written", self.id), error))
    }

    /// Moves it to its place. It counts only when the database knows it: see [`Self::commit`].
    pub(crate) fn publish(&mut self) -> Result<()> {
        make_directory(&self.places.layers())?;
        let (from, to) = (self.places.staging().join(&self.id), self.places.layer(&self.id));
        fs::rename(&from, &to)
            .map_err(|error| failed(format!("`{}` can't be moved into the store", from.display()), error))?;
        self.published = true;
        Ok(())
    }

    /// Keeps it: the database knows it.
    pub(crate) fn commit(mut self) {
        self.committed = true;
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let place = if self.published { self.places.layers() } else { self.places.staging() };
        if let Err(failure) = self.places.discard(&place.join(&self.id)) {
            tracing::warn!(failure = %failure.chain(), "a staged layer is left for the next sweep");
        }
    }
}

/// Takes back what a set-group-id directory above would hand down.
fn plain(directory: &OwnedFd) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    rustix::fs::fchown(directory, Some(user), Some(group))?;
    rustix::fs::fchmod(directory, Mode::RWXU)?;
    Ok(())
}
