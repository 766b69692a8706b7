//! Removing a cgroup.

use std::fs;
use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use super::processes::tree;
use super::{Cgroup, CgroupDirectory, CgroupError, systemd};

/// How long to wait between tries to remove a cgroup that the kernel is still emptying.
const TRY_AGAIN: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Removes the cgroup everywhere, after killing what is in it. When everything in it has ended all hierarchies are
    /// tried, and the first failure is reported. All of it together has one deadline.
    pub(super) fn remove_all(&self) -> Result<(), CgroupError> {
        if let Some(unit) = &self.unit {
            return self.remove_scope(unit);
        }
        // The ordinary case: everything has ended, and one rmdir(2) a hierarchy does it.
        let busy: Vec<&CgroupDirectory> =
            self.directories.iter().filter(|directory| !is_gone(fs::remove_dir(&directory.path))).collect();
        let mut result = Ok(());
        if !busy.is_empty() {
            let deadline = Self::deadline();
            self.kill()?;
            self.await_empty(deadline)?;
            for directory in busy {
                result = result.and(self.remove_tree(&directory.path, deadline));
            }
        }
        self.remove_empty_parents();
        result
    }

    /// Ends a scope. systemd removes its directory, and notices by itself when nothing runs there any more: whichever of
    /// the two comes first. Only when it does not answer, the directory is removed without it.
    fn remove_scope(&self, unit: &str) -> Result<(), CgroupError> {
        let directory = self.members();
        if !directory.exists() {
            return Ok(());
        }
        let deadline = Self::deadline();
        self.kill()?;
        self.await_empty(deadline)?;
        if let Err(error) = systemd::stop(unit, &self.slice()) {
            tracing::debug!(unit, %error, "systemd did not end a scope");
        }
        self.remove_tree(directory, Self::deadline())
    }

    /// The slice that a scope lies in, from its path.
    fn slice(&self) -> String {
        let name = Path::new(&self.path).parent().and_then(Path::file_name);
        name.map_or_else(|| "-.slice".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// Removes directories in which nothing ran yet.
    pub(super) fn remove_now(&self) {
        for directory in &self.directories {
            let _nothing_can_be_done = fs::remove_dir(&directory.path);
        }
        self.remove_empty_parents();
    }

    /// Removes one directory with those below it. A process is out of the list a moment before its cgroup is free,
    /// and nothing tells when it is.
    fn remove_tree(&self, directory: &Path, deadline: Instant) -> Result<(), CgroupError> {
        loop {
            for below in tree(directory)?.iter().rev() {
                match fs::remove_dir(below) {
                    Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ResourceBusy) => {
                        return Err(CgroupError::Remove { path: below.clone(), source: error });
                    }
                    _ => {}
                }
            }
            if !directory.exists() {
                return Ok(());
            }
            self.check(deadline, "become free")?;
            std::thread::sleep(TRY_AGAIN);
        }
    }

    /// Removes the parents that no other container needs. They are made again when they are needed.
    /// Slices are systemd's.
    pub(super) fn remove_empty_parents(&self) {
        if self.unit.is_some() {
            return;
        }
        self.directories.iter().for_each(CgroupDirectory::remove_empty_parents);
    }
}

impl CgroupDirectory {
    /// Removes the directory, in which nothing may have run, and what nobody else needs above it.
    pub(super) fn give_up(&self) -> Result<(), CgroupError> {
        match fs::remove_dir(&self.path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(CgroupError::Remove { path: self.path.clone(), source })
            }
            _ => {
                self.remove_empty_parents();
                Ok(())
            }
        }
    }

    fn remove_empty_parents(&self) {
        let parents = self.path.ancestors().skip(1).take_while(|&parent| parent != self.hierarchy.mount);
        for parent in parents {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}

fn is_gone(removed: io::Result<()>) -> bool {
    match removed {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
