//! Layers that lie at a URL.

use std::path::PathBuf;

use loam_model::Result;
use loam_registry::{Notes, RegistryError, RemoteFile};

use super::transfer::Transfer;
use crate::LayerStore;
use crate::intake::Blob;

/// The web, as far as layers lie there.
pub(crate) struct RemoteFiles<'a> {
    /// Its threads for transfers start with the first one: most layouts need none.
    store: &'a LayerStore,
    certificates: Option<PathBuf>,
    notes: Notes,
}

impl<'a> RemoteFiles<'a> {
    pub(crate) fn new(store: &'a LayerStore, certificates: Option<PathBuf>, notes: Notes) -> Self {
        Self { store, certificates, notes }
    }

    /// Begins to fetch what is at a URL, of which at most so many bytes are wanted.
    pub(super) fn open(&self, url: &str, size: Option<u64>) -> Result<Box<dyn Blob>> {
        let runtime = self.store.runtime()?;
        let options = &self.store.config.registries;
        let opening = RemoteFile::open(url, size, self.certificates.as_deref(), options, &self.notes);
        let mut file = runtime.block_on(opening).map_err(RegistryError::into_failure)?;
        Ok(Box::new(Transfer::spawn(runtime, async move |sender| {
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
