//! An image as an OCI bundle, for any OCI runtime: `config.json` and `rootfs`, and `volumes/N` for what the image says is
//! to be kept apart from its files.
//!
//! The bundle is made beside its place, under a name with a dot, and gets its own when it is whole. The configuration
//! follows the image specification (conversion.md) with the bundler's secure defaults, but for what only makes sense with
//! an engine around it: it names no cgroup, no security module's profile and no file of this host.

mod config;
mod volumes;
mod working_directory;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use loam_model::{CopiedOwners, ErrorKind, Failure, Image, ImageStore, ImageTrees};
use rustix::fs::{Mode, OFlags};

pub(crate) use config::Wishes;

/// Makes bundles.
pub(crate) struct BundleMaker<'a> {
    pub(crate) store: &'a dyn ImageStore,
    pub(crate) trees: &'a dyn ImageTrees,
    pub(crate) wishes: Wishes,
    /// The host's ids for the image's users and groups.
    pub(crate) owners: CopiedOwners,
}

impl BundleMaker<'_> {
    /// Makes the bundle of an image at a path, where there is nothing or an empty directory.
    pub(crate) fn make(&self, image: &Image, path: &Path) -> Result<(), Failure> {
        let place = Unfinished::begin(path, self.owners.users.is_some())?;
        let root = place.directory("rootfs")?;
        self.trees.copy_files(&image.id, root.as_fd(), &self.owners)?;
        let volumes = volumes::make(self.trees, &place, &root, &image.config.volumes)?;
        let document = self.store.raw_config(&image.id)?;
        let config = self.config(image, &document, &root, volumes)?;
        place.file("config.json", &config)?;
        place.finish(path)
    }
}

/// A bundle on its way, which is removed unless it is finished.
pub(super) struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// Begins beside the place; `shared` lets other users pass, for a root user that is not this host's.
    fn begin(target: &Path, shared: bool) -> Result<Self, Failure> {
        let occupied = |why: &str| {
            let message = format!("the bundle can't be made at `{}`: {why}", target.display());
            Failure::new(ErrorKind::AlreadyExists, message)
        };
        match fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(occupied("the directory is not empty")),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(occupied("it is not a directory"));
            }
            Err(error) => return Err(unmade(target, error)),
        }
        let Some(name) = target.file_name() else {
            return Err(Failure::new(
                ErrorKind::Invalid,
                format!("`{}` names no directory", target.display()),
            ));
        };
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".unfinished.{}", std::process::id()));
        let path = target.with_file_name(beside);
        let mode = if shared { 0o711 } else { 0o700 };
        DirBuilder::new().mode(mode).create(&path).map_err(|error| unmade(target, error))?;
        Ok(Self { path, finished: false })
    }

    /// Makes a directory in it, and opens it.
    pub(super) fn directory(&self, name: &str) -> Result<OwnedFd, Failure> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(|error| unmade(&path, error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| unmade(&path, errno.into()))
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.path.join(name);
        fs::write(&path, content).map_err(|error| unmade(&path, error))
    }

    fn finish(mut self, target: &Path) -> Result<(), Failure> {
        // An empty directory gives way, one that is no longer empty does not.
        fs::rename(&self.path, target).map_err(|error| unmade(target, error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // There is nothing more to be done about it.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

fn unmade(path: &Path, error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::of_io(&error),
    };
    Failure::new(kind, format!("`{}` can't be made", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfinished_leaves_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let target = place.path().join("bundle");
        fs::create_dir(&target).expect("made");
        let unfinished = Unfinished::begin(&target, false).expect("begins");
        unfinished.directory("rootfs").expect("made");
        drop(unfinished);
        assert_eq!(fs::read_dir(place.path()).expect("there").count(), 1);
        let unfinished = Unfinished::begin(&target, false).expect("begins");
        unfinished.file("config.json", b"{}").expect("written");
        unfinished.finish(&target).expect("finishes");
        assert_eq!(fs::read(target.join("config.json")).expect("there"), b"{}");
        let refusal = |path: &Path| match Unfinished::begin(path, false) {
            Ok(_) => String::new(),
            Err(failure) => failure.chain(),
        };
        assert!(refusal(&target).contains("is not empty"), "{}", refusal(&target));
        assert!(refusal(&target.join("config.json")).contains("not a directory"));
        assert!(refusal(&place.path().join("none/bundle")).contains("No such file"));
        assert!(refusal(&place.path().join("none/..")).contains("names no directory"));
    }
}
