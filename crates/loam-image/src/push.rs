//! Pushing: from the store into a registry.
//!
//! The store keeps manifest and configuration as they came, and of layers the unpacked files, and the blob where it is told
//! to. A layer whose blob it has kept, or whose blob the registry has, or another of its repositories that an image of this store names, stays as it is: when that goes for all
//! of them, the image there has the same digest as here. The tar of any other layer is put together again (see
//! [`Reassembled`](loam_unpack::Reassembled)) and compressed: its blob is then another, and so is the manifest. Where that can't be done, the
//! layer is packed from its files (see [`pack`](crate::pack)): then the archive is another, too, and so are the
//! configuration and the image's id.

mod documents;
mod kept;
mod layers;
mod packed;

use loam_model::{
    Digest, ErrorKind, Failure, Image, PullProgress, PushedImage, RegistryOptions, Result, shown,
};
use loam_registry::{Bytes, Client, ClientOptions, Reference, RegistryError};

use crate::pull::with_notes;
use crate::resolve::Found;
use crate::{LayerStore, blobs, names};
use documents::Documents;
use layers::Target;
use packed::Whole;

impl LayerStore {
    pub(crate) fn push_image(
        &self,
        word: &str,
        destination: Option<&str>,
        options: &RegistryOptions,
        progress: &dyn PullProgress,
    ) -> Result<PushedImage> {
        let (found, image) = self.look_up(word)?;
        let reference = self.destination(word, destination, &found, &image)?;
        with_notes(progress, |notes| {
            let given = ClientOptions {
                insecure: options.insecure,
                credentials_file: options.credentials_file.clone(),
                ..self.config.registries.clone()
            };
            let client = Client::new(given, notes).map_err(RegistryError::into_failure)?;
            self.push_to(&client, &reference, &image, progress)
        })
    }

    /// Where to: as the person said, else where the image's own name says.
    fn destination(
        &self,
        word: &str,
        destination: Option<&str>,
        found: &Found,
        image: &Image,
    ) -> Result<Reference> {
        if let Some(text) = destination {
            let text = text.strip_prefix("docker://").unwrap_or(text);
            let reference = self.meaning(text)?;
            if reference.digest().is_some() {
                let message = format!("the destination `{}` holds a digest", shown(text));
                let failure = Failure::new(ErrorKind::Invalid, message);
                return Err(failure.hint("give a tag: what digest the image has is found out"));
            }
            return Ok(reference);
        }
        let own = match found {
            Found::Image { name: Some(name), .. } => vec![name],
            // An id: then the name that it has is meant, when it is one.
            _ => image.names.iter().collect(),
        };
        let mut places = own.iter().filter(|name| names::has_registry(name) && !name.contains('@'));
        match (places.next(), places.next()) {
            (Some(only), None) => names::reference(only),
            (None, _) => {
                let message = format!("`{}` names no registry", shown(word));
                Err(Failure::new(ErrorKind::Invalid, message)
                    .hint("say where to: loam push IMAGE DESTINATION"))
            }
            (Some(_), Some(_)) => {
                let message = format!("the image `{}` has several names", shown(word));
                Err(Failure::new(ErrorKind::Invalid, message).hint("give one of them, or a destination"))
            }
        }
    }

    fn push_to(
        &self,
        client: &Client,
        reference: &Reference,
        image: &Image,
        progress: &dyn PullProgress,
    ) -> Result<PushedImage> {
        let mut documents = Documents::read(self, image)?;
        let runtime = self.runtime()?;
        let target = Target { client, runtime, reference, progress };
        let layers = self.push_layers(&target, &documents.layers()?)?;
        let changed = documents.replace(&layers)?;
        if let Some(sentence) = changed.sentence(&documents.id()) {
            progress.note(&sentence);
        }
        let config = documents.config();
        let digest = documents.id();
        let pushed = runtime.block_on(async {
            if !client.has_blob(reference, &digest).await? {
                let whole = Whole { bytes: Bytes::copy_from_slice(config), digest: digest.clone() };
                client.push_blob(reference, &whole, &digest.to_string()).await?;
            }
            client.push_manifest(reference, documents.media_type(), documents.manifest()).await
        });
        let digest = pushed.map_err(RegistryError::into_failure)?;
        Ok(PushedImage { reference: reference.canonical(), digest, id: documents.id() })
    }

    /// The documents of an image, as they came.
    fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        blobs::read(&self.places, digest)
    }
}
