//! The tar of a root file system as an image of one layer. Its digests are made of the file's path, size and time of
//! change, so that a file that stays as it is is unpacked once; nothing can be held against them.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use loam_model::{ErrorKind, Failure, Reason, Result};
use loam_registry::Bytes;
use serde_json::json;

use super::Source;
use super::files::{Content, FileRange, open_regular};
use crate::document::{Descriptor, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, RawDocument, is_config};
use crate::error::failed;
use crate::hashing::sha256;
use crate::intake::{Blob, Promise};
use crate::platform::Platform;

/// A tar on disk, opened: what is unpacked is the file whose time was looked at.
pub(crate) struct RootfsTar {
    file: Arc<File>,
    size: u64,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl RootfsTar {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let what = |what: &str| format!("`{}` {what}", path.display());
        if path.is_dir() {
            return Err(Failure::new(ErrorKind::Invalid, what("is a directory where a tar is wanted"))
                .because(Reason::DirectoryForTar));
        }
        let (file, size) = open_regular(path)?.ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, what("does not exist")).because(Reason::NoSource)
        })?;
        let status = file.metadata().map_err(|error| failed(what("can't be looked at"), error))?;
        let (changed, part) = (status.mtime(), status.mtime_nsec());
        let claims = format!("loam tar\0{}\0{changed}.{part}\0{size}", path.display());
        let layer = sha256(claims.as_bytes());
        let platform = Platform::host();
        let config = json!({
            "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
            "config": {}, "rootfs": { "type": "layers", "diff_ids": [layer] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": { "mediaType": OCI_CONFIG, "digest": sha256(&config), "size": config.len() },
            "layers": [{ "mediaType": OCI_LAYER, "digest": layer, "size": size }],
        });
        Ok(Self { file: Arc::new(file), size, config, manifest: manifest.to_string().into_bytes() })
    }
}

impl Source for RootfsTar {
    fn top(&self) -> Result<RawDocument> {
        let (media_type, bytes) = (OCI_MANIFEST.to_owned(), self.manifest.clone());
        Ok(RawDocument { media_type, digest: sha256(&bytes), bytes })
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        let what = format!("a tar has no document `{}`", descriptor.digest);
        Err(Failure::new(ErrorKind::Internal, what))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let content = if is_config(descriptor) {
            Content::Memory(Bytes::copy_from_slice(&self.config))
        } else {
            Content::Range(FileRange::new(Arc::clone(&self.file), 0, self.size))
        };
        Ok((content.into_blob(), Promise { digest: None, size: None }))
    }
}
