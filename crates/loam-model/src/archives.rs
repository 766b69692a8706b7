//! Archives of images: what goes out of a store and comes in again.

use std::io::Write;
use std::path::Path;

use crate::{Image, ImageSource, Result};

/// An image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedImage {
    /// What to pull.
    pub source: ImageSource,
    /// The names that the archive has for it.
    pub names: Vec<String>,
}

/// The part of an image store that writes archives of several images and knows what is in them.
pub trait ImageArchives: Send + Sync {
    /// Writes images, with all the names that they have in the store, into one archive (a tar): an OCI image layout
    /// (image specification, image-layout.md) that has Docker's `manifest.json` beside its index, so that whoever reads
    /// either can read it. Layers are not compressed; image ids stay what they are. Each layer is held against its diff
    /// id before it is written; [`crate::ErrorKind::Unsupported`] for one whose archive can't be put together again.
    fn save(&self, images: &[Image], archive: &mut dyn Write) -> Result<()>;

    /// The images in an archive that this or another engine has written: Docker's format, or an OCI layout; plain,
    /// gzip or zstd.
    fn contents(&self, archive: &Path) -> Result<Vec<ArchivedImage>>;
}
