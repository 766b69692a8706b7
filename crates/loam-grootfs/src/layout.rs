//! The directories of a store that this door owns, and the ids in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loam_model::{ContainerId, shown};
use sha2::{Digest as _, Sha256};

use crate::error::GrootfsError;

/// A store's directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) store: PathBuf,
}

/// One image, which is what GrootFS calls a root file system.
#[derive(Clone, Debug)]
pub(crate) struct ImageDirectory {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

impl Layout {
    pub(crate) fn images(&self) -> PathBuf {
        self.store.join("images")
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.store.join("meta")
    }

    pub(crate) fn namespace(&self) -> PathBuf {
        self.meta().join("namespace.json")
    }

    /// Whether `init-store` has been there.
    pub(crate) fn is_initialized(&self) -> bool {
        self.images().is_dir() && self.namespace().is_file()
    }

    /// The image with an id.
    pub(crate) fn image(&self, id: &str) -> Result<ImageDirectory, GrootfsError> {
        if id.contains('/') {
            let what = format!("id `{}` contains invalid characters: `/`", shown(id));
            return Err(GrootfsError::said(what));
        }
        if matches!(id, "" | "." | "..") || id.len() > 255 || id.contains('\0') {
            return Err(GrootfsError::said(format!("id `{}` can't be the name of a directory", shown(id))));
        }
        Ok(ImageDirectory { id: id.to_owned(), path: self.images().join(id) })
    }

    /// The image that an id or the path of its directory names; `None` when there is none, here or anywhere.
    pub(crate) fn find(&self, word: &str) -> Option<ImageDirectory> {
        let id = match Path::new(word).strip_prefix(self.images()) {
            Ok(below) => below.to_str()?,
            Err(_) => word,
        };
        self.image(id).ok().filter(|image| image.path.is_dir())
    }

    /// The ids of all images, in order.
    pub(crate) fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.images())? {
            ids.push(entry?.file_name().to_string_lossy().into_owned());
        }
        ids.sort();
        Ok(ids)
    }
}

impl ImageDirectory {
    /// The name of its snapshot.
    pub(crate) fn container(&self) -> ContainerId {
        ContainerId::from_random(Sha256::digest(self.id.as_bytes()).into())
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.path.join("mounts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_of_directories_and_found_by_path_too() {
        let store = tempfile::tempdir().expect("a directory");
        let layout = Layout { store: store.path().to_owned() };
        for id in ["a", "A b", "-x", "..a", "0:1"] {
            fs::create_dir_all(layout.image(id).expect("an id").path).expect("made");
            assert_eq!(layout.find(id).expect("found").id, id);
            let path = layout.images().join(id).display().to_string();
            assert_eq!(layout.find(&path).expect("found").id, id);
            assert_eq!(layout.find(&format!("{path}/")).expect("found").id, id);
        }
        for bad in ["a/b", "", ".", "..", &"x".repeat(256)] {
            assert!(layout.image(bad).is_err(), "{bad:?}");
        }
        let foreign = layout.images().join("../../etc").display().to_string();
        for nothing in ["b", "/etc", "..", "/", &foreign] {
            assert!(layout.find(nothing).is_none(), "{nothing:?}");
        }
        assert_ne!(
            layout.image("a").expect("an id").container(),
            layout.image("b").expect("an id").container()
        );
    }
}
