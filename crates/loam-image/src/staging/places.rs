//! Where everything of a store lies.

use std::path::PathBuf;

use loam_model::Digest;

/// The name of the file for what a layer's tar had beside the files' data.
pub(super) const SPLIT: &str = "split";
/// The name of a layer's blob.
pub(super) const BLOB: &str = "blob";

/// The places of a store. See the crate's page for the tree.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) root: PathBuf,
}

impl Places {
    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, id: &str) -> PathBuf {
        self.layers().join(id)
    }

    pub(crate) fn diff(&self, id: &str) -> PathBuf {
        self.layer(id).join("diff")
    }

    /// What a layer's tar had beside the files' data.
    pub(crate) fn split(&self, id: &str) -> PathBuf {
        self.layer(id).join(SPLIT)
    }

    /// The blob that a layer was unpacked from, where blobs are kept.
    pub(crate) fn kept_blob(&self, id: &str) -> PathBuf {
        self.layer(id).join(BLOB)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn templates(&self) -> PathBuf {
        self.root.join("disk-templates")
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    /// Where an image is mounted.
    pub(crate) fn mount(&self, image: &Digest) -> PathBuf {
        self.mounts().join(image.hex())
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("layer-locks")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// The files of those who hold leases.
    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// A directory below the store's root that stands for an image without layers.
    pub(crate) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }
}
