//! The directory that fixtures are kept in, locked.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::recipe::Recipe;
use super::{Fixture, push_into};
use crate::hostile::digest;
use crate::registry::Registry;

/// The directory, held by this process. Others wait.
pub(super) struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the directory, which is made when it is missing.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let unusable = || format!("the fixtures directory `{}` can't be used", directory.display());
        fs::create_dir_all(directory).with_context(unusable)?;
        // Programs with another working directory are given paths below it.
        let directory = std::path::absolute(directory).with_context(unusable)?;
        let lock = File::create(directory.join("lock")).with_context(unusable)?;
        flock(&lock, FlockOperation::LockExclusive).with_context(unusable)?;
        Ok(Self { directory, _lock: lock })
    }

    /// Makes a fixture, unless it is there as its recipe has it.
    pub(super) fn make(&self, fixture: Fixture) -> Result<()> {
        let recipe = Recipe::of(fixture);
        self.keep(fixture.name(), &recipe.digest(), |out, work| recipe.run(out, work))
    }

    /// Makes a registry's storage with these fixtures, unless it is there.
    pub(super) fn make_registry(&self, fixtures: &[Fixture]) -> Result<PathBuf> {
        let mut recipes = String::new();
        for fixture in fixtures {
            self.make(*fixture)?;
            recipes.push_str(&Recipe::of(*fixture).digest());
        }
        self.keep("registry", &digest(recipes.as_bytes()), |out, _work| {
            let registry = Registry::serving(out);
            fixtures.iter().try_for_each(|fixture| push_into(&registry, &self.directory, *fixture))
        })?;
        Ok(self.directory.join("registry"))
    }

    /// Makes a directory by name, whole or not at all, unless it is there from the same recipe.
    fn keep(&self, name: &str, recipe: &str, make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        let (target, stamp) = (self.directory.join(name), self.directory.join(format!("{name}.recipe")));
        if target.is_dir() && fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
            return Ok(());
        }
        if !rustix::process::geteuid().is_root() {
            bail!("making the fixture image `{name}` needs root");
        }
        let work = self.directory.join("work");
        remove(&work)?;
        fs::create_dir(&work)?;
        let made = make(&work.join("out"), &work);
        let kept = made.and_then(|()| {
            remove(&target)?;
            fs::rename(work.join("out"), &target)?;
            Ok(fs::write(&stamp, recipe)?)
        });
        let cleaned = remove(&work);
        kept.with_context(|| format!("the fixture image `{name}` can't be made")).and(cleaned)
    }
}

/// Removes a directory with all that is in it, if it is there.
fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("`{}` can't be removed", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_and_what_fails_leaves_nothing() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: what_is_there_is_kept_and_what_fails_leaves_nothing: needs root");
            return;
        }
        let files = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(files.path()).expect("opened");
        let make = |text: &'static str| {
            move |out: &Path, _work: &Path| -> Result<()> {
                fs::create_dir(out)?;
                Ok(fs::write(out.join("file"), text)?)
            }
        };
        store.keep("x", "1", make("first")).expect("made");
        store.keep("x", "1", make("second")).expect("kept");
        let read = || fs::read_to_string(files.path().join("x/file")).expect("there");
        assert_eq!(read(), "first");
        store.keep("x", "2", make("third")).expect("made anew");
        assert_eq!(read(), "third");
        assert!(store.keep("x", "3", |_, _| bail!("no")).is_err());
        assert_eq!(read(), "third");
        assert!(!files.path().join("work").exists());
    }
}
