//! Copying images from one place to another, past every store.

use serde::Serialize;

use crate::{Digest, ImageSource, PullProgress, RegistryOptions, Result};

/// What is to be copied, and where to.
#[derive(Clone, Debug)]
pub struct CopyRequest<'a> {
    /// Where the image is.
    pub source: &'a ImageSource,
    /// Where it is to be.
    pub destination: &'a ImageSource,
    /// Whether an index is copied with all its images, rather than the image for a platform.
    pub all: bool,
    /// `OS/ARCH[/VARIANT]`; this machine's when absent.
    pub platform: Option<&'a str>,
    /// How the source's registry is spoken to.
    pub source_options: RegistryOptions,
    /// How the destination's registry is spoken to.
    pub destination_options: RegistryOptions,
}

/// What a copy came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedImage {
    /// The digest of the manifest or index at the destination.
    pub digest: Digest,
}

/// Copies images without a store: manifests, configurations and blobs byte for byte, each held against its digest. What
/// they are is not looked at, so that artifacts and media types that nobody here knows are copied, too. The image
/// appears at the destination whole or not at all.
pub trait ImageCopies: Send + Sync {
    /// Copies one. An archive in Docker's format has its layers uncompressed and no manifest: an image that goes there, or
    /// comes from there, has another digest afterwards, and the same id.
    fn copy(&self, request: &CopyRequest<'_>, progress: &dyn PullProgress) -> Result<CopiedImage>;
}
