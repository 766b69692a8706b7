//! Copying images from one place to another, past the store.
//!
//! First all documents of the image are read, from the top down ([`graph`]), then the blobs that the destination lacks are
//! sent, each held against its digest on the way, then the documents from the bottom up: what can be found at the
//! destination is always whole. A registry shows an image when its manifest comes, a layout when its `index.json` is put in
//! place of the old one; an archive, and a layout that is new, are made beside their place and renamed.

mod blobs;
mod graph;
mod layout_index;
mod to_docker;
mod to_layout;
mod to_oci_archive;
mod to_registry;
mod unfinished;

use std::fmt;

use loam_model::{
    CopiedImage, CopyRequest, Digest, ErrorKind, Failure, ImageCopies, ImageSource, PullProgress,
    RegistryOptions, Result, shown,
};
use loam_registry::{Client, ClientOptions, Notes, Reference, RegistryError};
use loam_unpack::Unpacker;
use rustix::thread::CapabilitySet;
use tokio::runtime::Runtime;

use crate::document::{Descriptor, RawDocument};
use crate::platform::Platform;
use crate::pull::{shown_source, with_notes};
use crate::source::{self, Registry, Source};
use crate::store::transfer_runtime;
use blobs::Incoming;
use graph::Graph;
use to_docker::ToDockerArchive;
use to_layout::ToLayout;
use to_oci_archive::ToOciArchive;
use to_registry::ToRegistry;

/// Where images are copied to. Blobs come before the documents that name them, and the top comes last.
trait Destination: Sync {
    /// How many blobs may come at once.
    fn lanes(&self) -> usize;
    /// Whether a blob is there, or can be had without sending it.
    fn has(&self, blob: &Descriptor) -> Result<bool>;
    /// Takes a blob.
    fn put(&self, blob: &Descriptor, incoming: &Incoming<'_>) -> Result<()>;
    /// Takes a manifest or an index that another one names.
    fn document(&self, document: &RawDocument) -> Result<()>;
    /// Takes the top, and shows all that has come; gives the digest that the top has there.
    fn finish(self: Box<Self>, top: &RawDocument) -> Result<Digest>;
}

/// Copies images between registries, layouts and archives.
pub struct ImageCopier {
    options: ClientOptions,
    /// Who looks through archives.
    unpacker: Unpacker,
}

impl ImageCopier {
    /// A copier that speaks to registries as this machine's settings say. `unpacker` looks through archives; without the rights
    /// to confine it, which a copy need not have, they are looked through with those of this process.
    pub fn new(unpacker: Unpacker) -> Self {
        let rights = rustix::thread::capabilities(None).map(|sets| sets.effective);
        let may_confine = rights.is_ok_and(|rights| rights.contains(CapabilitySet::SYS_ADMIN));
        let unpacker = if may_confine { unpacker } else { Unpacker::InProcess };
        Self { options: ClientOptions::default(), unpacker }
    }
}

impl fmt::Debug for ImageCopier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ImageCopier").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ImageCopies for ImageCopier {
    fn copy(&self, request: &CopyRequest<'_>, progress: &dyn PullProgress) -> Result<CopiedImage> {
        let runtime = transfer_runtime()?;
        let copied = with_notes(progress, |notes| {
            Copying {
                options: &self.options,
                unpacker: &self.unpacker,
                runtime: &runtime,
                notes,
                request,
                progress,
            }
            .run()
        });
        // Transfers end with who asked for them: nothing is waited for.
        runtime.shutdown_background();
        copied
    }
}

/// One copy.
struct Copying<'a> {
    options: &'a ClientOptions,
    unpacker: &'a Unpacker,
    runtime: &'a Runtime,
    notes: Notes,
    request: &'a CopyRequest<'a>,
    progress: &'a dyn PullProgress,
}

impl Copying<'_> {
    fn run(&self) -> Result<CopiedImage> {
        let source = self.whole(self.request.source)?;
        let place = self.open(&source)?;
        let wanted = match self.request.platform {
            _ if self.request.all => None,
            Some(platform) => Some(platform.parse()?),
            None => Some(Platform::host()),
        };
        let graph = graph::read(place.as_ref(), wanted.as_ref(), &shown_source(&source))?;
        let destination = self.destination(&source, place.as_ref(), &graph)?;
        blobs::copy(place.as_ref(), destination.as_ref(), &graph.blobs, self.progress)?;
        for document in &graph.below {
            destination.document(document)?;
        }
        Ok(CopiedImage { digest: destination.finish(&graph.top)? })
    }

    /// A place with what a short name of a registry stands for.
    fn whole(&self, place: &ImageSource) -> Result<ImageSource> {
        let ImageSource::Registry(text) = place else { return Ok(place.clone()) };
        let meant = self.options.settings.meaning(text).map_err(RegistryError::into_failure)?;
        Ok(ImageSource::Registry(meant.canonical()))
    }

    fn open(&self, source: &ImageSource) -> Result<Box<dyn Source + '_>> {
        match source {
            ImageSource::Registry(text) => {
                let options = self.client_options(&self.request.source_options);
                let reference = crate::names::reference(text)?;
                let notes = Notes::clone(&self.notes);
                Ok(Box::new(Registry::new(self.runtime, None, reference, options, notes)?))
            }
            local => source::open_local(local, &std::env::temp_dir(), self.unpacker),
        }
    }

    fn client_options(&self, options: &RegistryOptions) -> ClientOptions {
        ClientOptions {
            insecure: options.insecure,
            credentials_file: options.credentials_file.clone(),
            ..self.options.clone()
        }
    }

    fn destination<'b>(
        &'b self,
        source: &ImageSource,
        place: &'b dyn Source,
        graph: &Graph,
    ) -> Result<Box<dyn Destination + 'b>> {
        Ok(match self.whole(self.request.destination)? {
            ImageSource::Registry(text) => Box::new(self.to_registry(source, &text)?),
            ImageSource::OciLayout { directory, tag } => Box::new(ToLayout::begin(directory, tag)?),
            ImageSource::OciArchive { file, tag } => Box::new(ToOciArchive::begin(&file, tag)?),
            ImageSource::RootfsTar(file) => {
                let message =
                    format!("`{}` can't be a destination: it is a root file system", file.display());
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            ImageSource::DockerArchive { file, reference } => {
                if self.request.all {
                    let message = "an archive in Docker's format takes single images only";
                    return Err(Failure::new(ErrorKind::Unsupported, message)
                        .hint("leave out --all, or copy to oci-archive:FILE"));
                }
                Box::new(ToDockerArchive::begin(&file, reference.as_deref(), place, graph)?)
            }
        })
    }

    fn to_registry(&self, source: &ImageSource, text: &str) -> Result<ToRegistry<'_>> {
        let reference: Reference = crate::names::reference(text)?;
        if reference.digest().is_some() {
            let message = format!("the destination `{}` holds a digest", shown(text));
            let failure = Failure::new(ErrorKind::Invalid, message);
            return Err(failure.hint("give a tag: the digest is that of the source"));
        }
        let from = match source {
            ImageSource::Registry(text) => Some(crate::names::reference(text)?)
                .filter(|from| from.domain() == reference.domain() && from.path() != reference.path()),
            _ => None,
        };
        let options = self.client_options(&self.request.destination_options);
        let client = Client::new(options, Notes::clone(&self.notes)).map_err(RegistryError::into_failure)?;
        let from = from.map(|from| from.path().to_owned());
        Ok(ToRegistry { client, runtime: self.runtime, reference, from })
    }
}

#[cfg(test)]
mod tests;
