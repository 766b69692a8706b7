//! Things on disk that are not there yet, or no longer: staged layers and trash.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use loam_model::{Digest, Failure, Result};
use loam_unpack::Destination;
pub(crate) use loam_unpack::open_directory;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::failed;

/// The places of a store. See the crate's page for the tree.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) root: PathBuf,
}

impl Places {
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, id: &str) -> PathBuf {
        self.layers().join(id)
    }

    pub(crate) fn diff(&self, id: &str) -> PathBuf {
        self.layer(id).join("diff")
    }

    /// What a layer's tar had beside the files' data.
    pub(crate) fn split(&self, id: &str) -> PathBuf {
        self.layer(id).join(SPLIT)
    }

    /// The blob that a layer was unpacked from, where blobs are kept.
    pub(crate) fn kept_blob(&self, id: &str) -> PathBuf {
        self.layer(id).join(BLOB)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn templates(&self) -> PathBuf {
        self.root.join("disk-templates")
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    /// Where an image is mounted.
    pub(crate) fn mount(&self, image: &Digest) -> PathBuf {
        self.mounts().join(image.hex())
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("layer-locks")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// The files of those who hold leases.
    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// A directory below the store's root that stands for an image without layers.
    pub(crate) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// Moves something out of the way and deletes it. Success when there is nothing.
    pub(crate) fn discard(&self, path: &Path) -> Result<()> {
        self.discard_as(path, &random_id())
    }

    /// Likewise, under a name of the caller's, which nothing in the trash has. Called again after a crash, it finishes.
    pub(crate) fn discard_as(&self, path: &Path, name: &str) -> Result<()> {
        let trash = self.trash();
        let grave = trash.join(name);
        let mut renamed = fs::rename(path, &grave);
        if renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && path.exists() {
            // On a full disk there is no space for a directory more; nobody looks at what is deleted where it is either.
            renamed = match make_directory(&trash) {
                Ok(()) => fs::rename(path, &grave),
                Err(_) => return delete(path),
            };
        }
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(format!("`{}` can't be removed", path.display()), error)),
        }
        delete(&grave)
    }

    /// Deletes what was moved out of the way under this name. Success when there is nothing.
    pub(crate) fn delete_trash(&self, name: &str) -> Result<()> {
        delete(&self.trash().join(name))
    }
}

/// Deletes a directory, or whatever is there. Success when there is nothing.
pub(crate) fn delete(path: &Path) -> Result<()> {
    crate::delete::tree(CWD, path)
        .map_err(|error| failed(format!("`{}` can't be deleted", path.display()), error))
}

/// Makes a directory that only the store enters, with those above it.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed(format!("the directory `{}` can't be made", path.display()), error))
}

/// Twelve random hexadecimal digits.
pub(crate) fn random_id() -> String {
    let mut bytes = [0_u8; 6];
    // The kernel's pool can't fail once the machine is up.
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a directory that is not the store's: a link to one will do.
pub(crate) fn open_directory_of_others(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The name of that file.
const SPLIT: &str = "split";
/// The name of a layer's blob.
const BLOB: &str = "blob";

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

/// Whether this open file is still what the path names.
pub(crate) fn is_at(fd: &OwnedFd, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (rustix::fs::fstat(fd), rustix::fs::lstat(path)) else { return false };
    (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
}

/// Deletes what crashed processes have left: staged layers that nobody holds, layers that the database does not know
/// (`known` is asked after their lock is taken), trash. Failures are left for the next time.
pub(crate) fn sweep(places: &Places, known: &dyn Fn(&str) -> Result<bool>) {
    for (place, ask) in [(places.staging(), false), (places.layers(), true)] {
        for path in entries(&place) {
            let Some(id) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if ask && known(id).unwrap_or(true) {
                continue;
            }
            let Ok(directory) = open_directory(&path) else { continue };
            if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if ask && known(id).unwrap_or(true) {
                continue;
            }
            report(id, places.discard(&path));
        }
    }
    for path in entries(&places.trash()) {
        // Another process may be deleting the same; both succeed.
        if let Err(failure) = crate::quota::remove_buried(&path, places) {
            tracing::debug!(path = %path.display(), failure = %failure.chain(), "trash is left");
        }
    }
}

/// What is in a directory; nothing when it can't be read.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Says what became of garbage.
pub(crate) fn report(what: &str, result: std::result::Result<(), Failure>) {
    match result {
        Ok(()) => tracing::info!(what, "removed what an interrupted command had left"),
        Err(failure) => tracing::warn!(what, failure = %failure.chain(), "garbage is left for the next time"),
    }
}
