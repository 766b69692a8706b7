//! A registry as a source: asynchronous transfers, handed to blocking threads through bounded channels. Large blobs begin
//! with what an earlier pull has left of them, and are kept in part as they come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use loam_model::{Digest, Result};
use loam_registry::{Client, ClientOptions, Notes, Reference, RegistryError};
use tokio::runtime::Runtime;

use super::Source;
use super::kept::{Attempt, Kept};
use super::transfer::Transfer;
use crate::document::{Descriptor, RawDocument};
use crate::intake::{Blob, Promise};
use crate::partial::{self, Partial};
use crate::staging::Places;

/// An image in a registry.
pub(crate) struct Registry<'a> {
    runtime: &'a Runtime,
    /// Where large blobs are kept in part, if anywhere.
    places: Option<&'a Places>,
    client: Client,
    reference: Reference,
    /// How the last attempt at each large blob went.
    attempts: Mutex<HashMap<Digest, Arc<Attempt>>>,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(
        runtime: &'a Runtime,
        places: Option<&'a Places>,
        reference: Reference,
        options: ClientOptions,
        notes: Notes,
    ) -> Result<Self> {
        let client = Client::new(options, notes).map_err(RegistryError::into_failure)?;
        Ok(Self { runtime, places, client, reference, attempts: Mutex::default() })
    }

    /// Begins a transfer at an offset.
    fn transfer(&self, descriptor: &Descriptor, offset: u64) -> Transfer {
        let (client, reference) = (self.client.clone(), self.reference.clone());
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        Transfer::spawn(self.runtime, async move |sender| {
            let mut stream = match client.blob_from(&reference, &digest, size, offset).await {
                Ok(stream) => stream,
                Err(error) => {
                    // When nobody listens any more, nobody wants the error either.
                    sender.send(Err(error.into_failure())).await.ok();
                    return;
                }
            };
            while let Some(piece) = stream.next().await {
                let piece = piece.map(Some).map_err(RegistryError::into_failure);
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
            sender.send(Ok(None)).await.ok();
        })
    }
}

impl Source for Registry<'_> {
    fn top(&self) -> Result<RawDocument> {
        let manifest = self.runtime.block_on(self.client.manifest(&self.reference));
        manifest.map(document).map_err(RegistryError::into_failure)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        let manifest =
            self.runtime.block_on(self.client.manifest_by_digest(&self.reference, &descriptor.digest));
        manifest.map(document).map_err(RegistryError::into_failure)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let promise = Promise { digest: Some(descriptor.digest.clone()), size: Some(descriptor.size) };
        let partial =
            self.places.and_then(|places| Partial::open(places, &descriptor.digest, descriptor.size));
        let Some(partial) = partial else {
            return Ok((Box::new(self.transfer(descriptor, 0)), promise));
        };
        let attempt = Arc::new(Attempt::new(&partial));
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.insert(descriptor.digest.clone(), Arc::clone(&attempt));
        let transfer = self.transfer(descriptor, partial.found());
        Ok((Box::new(Kept::new(partial, transfer, attempt, descriptor.size)), promise))
    }

    fn spoiled(&self, descriptor: &Descriptor) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        match attempts.remove(&descriptor.digest) {
            Some(attempt) if !attempt.has_broken() => {
                if let Some(places) = self.places {
                    partial::forget(places, &descriptor.digest);
                }
                attempt.resumed()
            }
            _ => false,
        }
    }
}

fn document(manifest: loam_registry::Manifest) -> RawDocument {
    RawDocument { media_type: manifest.media_type, digest: manifest.digest, bytes: manifest.bytes }
}
