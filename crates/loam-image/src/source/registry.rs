//! A registry as a source: asynchronous transfers, handed to blocking threads through bounded channels.

use loam_model::{ErrorKind, Failure, PullOptions, Result};
use loam_registry::{Bytes, Client, ClientOptions, Notes, Reference};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Source;
use crate::document::{Descriptor, RawDocument};
use crate::intake::{Blob, Promise};

/// Pieces that wait between the network and the thread that unpacks.
const QUEUE: usize = 8;

/// An image in a registry.
pub(crate) struct Registry<'a> {
    runtime: &'a Runtime,
    client: Client,
    reference: Reference,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(
        runtime: &'a Runtime,
        reference: Reference,
        options: &PullOptions,
        notes: Notes,
    ) -> Result<Self> {
        let options = ClientOptions {
            insecure: options.insecure,
            credentials_file: options.credentials_file.clone(),
            ..ClientOptions::default()
        };
        let client = Client::new(options, notes).map_err(loam_registry::RegistryError::into_failure)?;
        Ok(Self { runtime, client, reference })
    }
}

impl Source for Registry<'_> {
    fn top(&self) -> Result<RawDocument> {
        let manifest = self.runtime.block_on(self.client.manifest(&self.reference));
        manifest.map(document).map_err(loam_registry::RegistryError::into_failure)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        let manifest =
            self.runtime.block_on(self.client.manifest_by_digest(&self.reference, &descriptor.digest));
        manifest.map(document).map_err(loam_registry::RegistryError::into_failure)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let (client, reference) = (self.client.clone(), self.reference.clone());
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        let (sender, pieces) = mpsc::channel(QUEUE);
        let task = self.runtime.spawn(async move {
            let mut stream = match client.blob(&reference, &digest, size).await {
                Ok(stream) => stream,
                Err(error) => {
                    // When nobody listens any more, nobody wants the error either.
                    sender.send(Err(error.into_failure())).await.ok();
                    return;
                }
            };
            while let Some(piece) = stream.next().await {
                let piece = piece.map(Some).map_err(loam_registry::RegistryError::into_failure);
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
            sender.send(Ok(None)).await.ok();
        });
        let promise = Promise { digest: Some(descriptor.digest.clone()), size: Some(size) };
        Ok((Box::new(Transfer { pieces, task, ended: false }), promise))
    }
}

fn document(manifest: loam_registry::Manifest) -> RawDocument {
    RawDocument { media_type: manifest.media_type, digest: manifest.digest, bytes: manifest.bytes }
}

/// A blob on its way. Dropping it ends the transfer. The end is a message of its own, so that a transfer that was torn
/// down is not taken for a short blob.
struct Transfer {
    pieces: mpsc::Receiver<Result<Option<Bytes>>>,
    task: JoinHandle<()>,
    ended: bool,
}

impl Blob for Transfer {
    fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) if piece.is_empty() => {}
                Some(Ok(Some(piece))) => return Ok(Some(piece)),
                Some(Ok(None)) => self.ended = true,
                Some(Err(failure)) => {
                    self.ended = true;
                    return Err(failure);
                }
                None => {
                    return Err(Failure::new(ErrorKind::Unavailable, "the transfer was given up"));
                }
            }
        }
        Ok(None)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
