//! `--cidfile`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use loam_model::{ErrorKind, Failure};

/// The file that gets the container's id. Made before the container, so that no container is made for nothing, and
/// taken away again unless it was written.
#[derive(Debug)]
pub(crate) struct IdFile<'a> {
    path: &'a Path,
    file: File,
    written: bool,
}

impl<'a> IdFile<'a> {
    /// Makes the file, which must not exist.
    pub(crate) fn reserve(path: &'a Path) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path, file, written: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!("the id file `{}` exists already", path.display());
                Err(Failure::new(ErrorKind::AlreadyExists, message).hint("remove it, or choose another"))
            }
            Err(error) => Err(unwritable(path, error)),
        }
    }

    /// Writes the id.
    pub(crate) fn write(mut self, id: &str) -> Result<(), Failure> {
        self.file.write_all(id.as_bytes()).map_err(|error| unwritable(self.path, error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            // It was made a moment ago; if it is gone already, that is as well.
            drop(fs::remove_file(self.path));
        }
    }
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::new(ErrorKind::Invalid, format!("the id file `{}` can't be written", path.display()))
        .caused_by(error)
}
