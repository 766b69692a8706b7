//! Layers that lie at a URL.

use std::path::PathBuf;

use loam_model::Result;
use loam_registry::{ClientOptions, Notes, RegistryError, RemoteFile};
use tokio::runtime::Runtime;

use super::transfer::Transfer;
use crate::intake::Blob;

/// The web, as far as layers lie there.
pub(crate) struct RemoteFiles<'a> {
    runtime: &'a Runtime,
    options: ClientOptions,
    certificates: Option<PathBuf>,
    notes: Notes,
}

impl<'a> RemoteFiles<'a> {
    pub(crate) fn new(
        runtime: &'a Runtime,
        options: ClientOptions,
        certificates: Option<PathBuf>,
        notes: Notes,
    ) -> Self {
        Self { runtime, options, certificates, notes }
    }

    /// Begins to fetch what is at a URL, of which at most so many bytes are wanted.
    pub(super) fn open(&self, url: &str, size: Option<u64>) -> Result<Box<dyn Blob>> {
        let opening = RemoteFile::open(url, size, self.certificates.as_deref(), &self.options, &self.notes);
        let mut file = self.runtime.block_on(opening).map_err(RegistryError::into_failure)?;
        Ok(Box::new(Transfer::spawn(self.runtime, async move |sender| {
            loop {
                let piece = file.next().await.map_err(RegistryError::into_failure);
                let is_last = !matches!(piece, Ok(Some(_)));
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        })))
    }
}
