//! Deleting: what goes is first moved out of the way.

use std::fs;
use std::io;
use std::path::Path;

use loam_model::Result;
use rustix::fs::CWD;

use super::{Places, make_directory, random_id};
use crate::error::failed;

impl Places {
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
