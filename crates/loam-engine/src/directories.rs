//! The two directories of a container: where they are, and how they are made.

mod removal;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use loam_model::{ContainerId, ErrorKind, Failure, Result};

use crate::config::EngineConfig;
use removal::remove;

/// The mode of directories that the root user of a user namespace must pass.
const PASSABLE: u32 = 0o711;

/// The mode of directories that nobody else has business in.
const PRIVATE: u32 = 0o700;

/// The paths below the state and run directories.
#[derive(Clone, Debug)]
pub(crate) struct Directories {
    state: PathBuf,
    run: PathBuf,
    init: PathBuf,
}

impl Directories {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            state: config.root.join("containers"),
            run: config.run.join("containers"),
            init: config.run.join("loam-init"),
        }
    }

    /// The container's state directory.
    pub(crate) fn state(&self, id: &ContainerId) -> PathBuf {
        self.state.join(id.as_str())
    }

    /// The container's run directory.
    pub(crate) fn run(&self, id: &ContainerId) -> PathBuf {
        self.run.join(id.as_str())
    }

    /// The container's lock file.
    pub(crate) fn lock(&self, id: &ContainerId) -> PathBuf {
        self.state(id).join("lock")
    }

    /// The container's log.
    pub(crate) fn log(&self, id: &ContainerId) -> PathBuf {
        self.state(id).join("log")
    }

    /// The mark of the command that stays with the container.
    pub(crate) fn owner(&self, id: &ContainerId) -> PathBuf {
        self.run(id).join("owner")
    }

    /// The lock of whoever writes names into containers' files.
    pub(crate) fn names_lock(&self) -> PathBuf {
        self.init.with_file_name("names.lock")
    }

    /// The program that is process 1 of containers that ask for one.
    pub(crate) fn init(&self) -> &Path {
        &self.init
    }

    /// Makes the container's state directory if it is missing.
    pub(crate) fn make_state(&self, id: &ContainerId) -> Result<()> {
        let path = self.state(id);
        let make = || fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(&path);
        make()
            .and_then(|()| assert_mode(&self.state, PRIVATE))
            .map_err(|error| failure(&path, "can't be made", error))
    }

    /// Makes the container's run directory, empty whatever was there.
    pub(crate) fn make_run(&self, id: &ContainerId) -> Result<PathBuf> {
        let path = self.run(id);
        let make = || fs::create_dir(&path);
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_passable(self.init.parent().unwrap_or(Path::new("/")))?;
                make_passable(&self.run)?;
                make()
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_run(id)?;
                make()
            }
            result => result,
        };
        made.and_then(|()| assert_mode(&path, PASSABLE))
            .and_then(|()| assert_mode(&self.run, PASSABLE))
            .map_err(|error| failure(&path, "can't be made", error))?;
        Ok(path)
    }

    /// Removes the container's run directory; success when there is none.
    pub(crate) fn remove_run(&self, id: &ContainerId) -> Result<()> {
        remove(&self.run, id.as_str(), &[])
    }

    /// Removes what is in the container's state directory, except for the lock; success when there is nothing.
    pub(crate) fn empty_state(&self, id: &ContainerId) -> Result<()> {
        remove(&self.state, id.as_str(), &["lock"])
    }

    /// Removes the lock and the state directory that it was the last in. Whoever opened the lock in between finds it
    /// unlinked, or finds no row and comes here too.
    pub(crate) fn remove_state(&self, id: &ContainerId) {
        for result in [fs::remove_file(self.lock(id)), fs::remove_dir(self.state(id))] {
            if let Err(error) = result {
                tracing::debug!(container = %id, %error, "the state directory stays for another command");
            }
        }
    }

    /// The containers that have a state directory.
    pub(crate) fn states(&self) -> Result<Vec<ContainerId>> {
        ids(&self.state)
    }

    /// The containers that have a run directory.
    pub(crate) fn runs(&self) -> Result<Vec<ContainerId>> {
        ids(&self.run)
    }
}

/// Writes a file, made with this mode whatever the umask; what was in it is replaced in place, because it may be
/// mounted in a container.
pub(crate) fn write_file(path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        if mode & !0o700 != 0 {
            // The umask may have taken away what others need.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.write_all(contents)
    };
    write().map_err(|error| failure(path, "can't be written", error))
}

/// A failure on a path, of the kind that the cause gives.
pub(crate) fn failure(path: &Path, what: &str, error: io::Error) -> Failure {
    Failure::new(ErrorKind::of_io(&error), format!("`{}` {what}", path.display())).caused_by(error)
}

fn make_passable(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => assert_mode(path, PASSABLE),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|error| failure(path, "can't be made", error))
}

/// Gives a directory this mode, whatever the umask, or whoever made it before, gave it.
fn assert_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn ids(directory: &Path) -> Result<Vec<ContainerId>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure(directory, "can't be read", error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ContainerId {
        digit.to_string().repeat(64).parse().expect("an id")
    }

    #[test]
    fn removal_does_not_follow_links() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let directories =
            Directories::new(&EngineConfig::new(base.path().join("root"), base.path().join("run")));
        let victim = base.path().join("victim");
        fs::create_dir(&victim).expect("made");
        fs::write(victim.join("file"), "x").expect("written");

        let run = directories.make_run(&id('a')).expect("made");
        fs::create_dir_all(run.join("mounts/1")).expect("made");
        std::os::unix::fs::symlink(&victim, run.join("mounts/link")).expect("linked");
        std::os::unix::fs::symlink(&victim, run.join("rootfs")).expect("linked");
        directories.remove_run(&id('a')).expect("removed");
        directories.remove_run(&id('a')).expect("removed again");
        assert!(!run.exists());
        assert!(victim.join("file").exists());
    }

    #[test]
    fn an_emptied_state_directory_keeps_its_lock() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let directories = Directories::new(&EngineConfig::new(base.path(), base.path().join("run")));
        directories.make_state(&id('a')).expect("made");
        fs::write(directories.log(&id('a')), "x").expect("written");
        fs::write(directories.lock(&id('a')), "").expect("written");
        directories.empty_state(&id('a')).expect("emptied");
        assert!(directories.lock(&id('a')).exists() && !directories.log(&id('a')).exists());
        assert_eq!(directories.states().expect("listed"), [id('a')]);
        directories.remove_state(&id('a'));
        assert_eq!(directories.states().expect("listed"), []);
    }

    #[test]
    fn directories_have_their_modes_whoever_made_them() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let directories = Directories::new(&EngineConfig::new(base.path(), base.path().join("run")));
        fs::create_dir(base.path().join("containers")).expect("made");
        let run = directories.make_run(&id('a')).expect("made");
        assert_mode(&base.path().join("run/containers"), 0o755).expect("changed");
        directories.remove_run(&id('a')).expect("removed");
        directories.make_run(&id('a')).expect("made");
        directories.make_state(&id('a')).expect("made");
        let state = directories.state(&id('a'));
        for path in [state.as_path(), state.parent().expect("has one")] {
            let mode = fs::metadata(path).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, PRIVATE, "{}", path.display());
        }
        for path in [run.as_path(), run.parent().expect("has one"), &base.path().join("run")] {
            let mode = fs::metadata(path).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, PASSABLE, "{}", path.display());
        }
    }
}
