//! Files beside their place, which they get when they are whole.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use tempfile::NamedTempFile;

use crate::error::failed;

/// How their names begin.
const PREFIX: &str = ".unfinished.";

/// A file in this directory that is gone unless it is [kept](keep).
pub(super) fn file_in(directory: &Path) -> Result<NamedTempFile> {
    let make = || {
        let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory)?;
        // As any file that a person makes, as far as is usual.
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        Ok(file)
    };
    make().map_err(|error: io::Error| {
        failed(format!("no file can be made in `{}`", directory.display()), error)
    })
}

/// Gives a file its name, in the place of whatever has it.
pub(super) fn keep(file: NamedTempFile, path: &Path) -> Result<()> {
    let kept = file.persist(path).map(drop);
    kept.map_err(|error| failed(format!("`{}` can't be written", path.display()), error.error))
}

/// The directory that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A directory beside its place.
#[derive(Debug)]
pub(super) struct UnfinishedDirectory {
    path: PathBuf,
    finished: bool,
}

impl UnfinishedDirectory {
    /// Begins one for a path where there is nothing, or an empty directory.
    pub(super) fn begin(target: &Path) -> Result<Self> {
        let Some(name) = target.file_name() else {
            let message = format!("`{}` names no directory that can be made", target.display());
            return Err(Failure::new(ErrorKind::Invalid, message));
        };
        let prefix = format!(".{}{PREFIX}", name.to_string_lossy());
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent(target));
        let made = made.and_then(|directory| {
            fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
            Ok(directory.keep())
        });
        let path = made.map_err(|error| failed(format!("`{}` can't be made", target.display()), error))?;
        Ok(Self { path, finished: false })
    }

    /// Where it is for now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    pub(super) fn finish(mut self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target)
            .map_err(|error| failed(format!("`{}` can't be made", target.display()), error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for UnfinishedDirectory {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "what is unfinished is left");
        }
    }
}
