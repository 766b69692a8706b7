//! Pulling: from a source to a durable image.
//!
//! One pull at a time fetches a layer, whoever asks, as long as it gets on: it holds the layer's lock until the image
//! is committed. Locks
//! are taken in the order of the diff ids, so that two pulls with layers in common can't wait for each other in a
//! circle, and a layer's transfer begins as soon as its own lock is held. Nothing protects layers that are there
//! already from being removed meanwhile; the commit looks again, and the pull goes round once more.
//!
//! A pull of an image that is there, just as it shall be, only takes a lease of it ([`there`]).

mod commit;
mod describe;
mod early_sync;
mod held;
mod keys;
mod layers;
mod limits;
mod queue;
mod shared;
mod there;

use std::path::Path;

use loam_model::{
    ErrorKind, Failure, Image, ImageSource, ImageStore as _, PullOptions, PullProgress, Result, Verification,
    shown,
};
use loam_registry::{ClientOptions, Login, Notes, Secret};

use crate::names;
use crate::source::{
    Directory, ExtendedLayout, Layout, Registry, RemoteFiles, RootfsTar, Source, open_local,
};
use crate::{LayerStore, catalog, threads};

pub(crate) use describe::Described;
use describe::Wanted;
pub(crate) use held::{Held, HeldLayer};
pub(crate) use layers::NeededLayer;

/// How often a pull starts over because a removal took a layer that it counted on.
const ROUNDS: usize = 5;

impl LayerStore {
    pub(crate) fn pull_image(
        &self,
        source: &ImageSource,
        options: &PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<Image> {
        let whole = match source {
            ImageSource::Registry(text) => Some(ImageSource::Registry(self.meaning(text)?.canonical())),
            _ => None,
        };
        let source = whole.as_ref().unwrap_or(source);
        // Only what lies in a directory of this machine can go unverified, or send for more.
        let strict = PullOptions { verification: Verification::Full, extensions: None, ..options.clone() };
        let options = match source {
            ImageSource::OciLayout { .. } | ImageSource::RootfsTar(_) => options,
            _ => &strict,
        };
        if options.only_if_missing
            && let Some(image) = self.present(source, options)?
        {
            return Ok(image);
        }
        // Who makes containers of nameless images all the time has a time of their own for it.
        if !options.nameless {
            self.sweep();
        }
        self.database.require_space()?;
        match source {
            ImageSource::Registry(text) => self.pull_from_registry(text, source, options, progress),
            ImageSource::OciLayout { directory, tag } => {
                self.pull_layout(directory, tag.as_deref(), source, options, progress)
            }
            ImageSource::RootfsTar(file) => {
                // Its digests are made of its path: there is nothing to hold them against.
                let options = PullOptions { verification: Verification::SkipLayers, ..options.clone() };
                self.pull_from(&RootfsTar::open(file)?, source, &options, progress)
            }
            local => {
                let place = open_local(local, &self.places.staging(), &self.config.unpacker)?;
                self.pull_from(place.as_ref(), source, options, progress)
            }
        }
    }

    fn pull_layout(
        &self,
        directory: &Path,
        tag: Option<&str>,
        source: &ImageSource,
        options: &PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<Image> {
        let layout = ExtendedLayout::new(
            Layout::open(Directory(directory.to_owned()), tag)?,
            options.verification == Verification::SkipLayers,
        );
        let wanted = self.describe(&layout, source, options)?;
        if let Some(image) = self.lease_if_there(&wanted, progress)? {
            return Ok(image);
        }
        let Some(extensions) = &options.extensions else {
            return self.fetch(&layout, &wanted, options, progress);
        };
        let certificates = extensions.certificates.clone();
        with_notes(progress, |notes| {
            // The client must not outlive this.
            let mut layout = layout;
            layout.fetch_from(RemoteFiles::new(self, certificates, notes));
            self.fetch(&layout, &wanted, options, progress)
        })
    }

    /// The image that the store has under the name that the pull would give.
    fn present(&self, source: &ImageSource, options: &PullOptions) -> Result<Option<Image>> {
        let name = match &options.name {
            Some(name) => Some(names::given(name)?),
            None if options.nameless => None,
            None => names::of_source(source, None)?,
        };
        let Some(name) = name else { return Ok(None) };
        self.database.read(|connection| match catalog::named(connection, &name)? {
            Some(id) => catalog::image(connection, &id),
            None => Ok(None),
        })
    }

    fn pull_from_registry(
        &self,
        text: &str,
        source: &ImageSource,
        options: &PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<Image> {
        let reference = names::reference(text)?;
        let runtime = self.runtime()?;
        with_notes(progress, |notes| {
            let login = options.credentials.as_ref().map(|credentials| Login::Password {
                user: credentials.user.clone(),
                password: Secret::new(credentials.password.clone()),
            });
            let given = ClientOptions {
                insecure: options.insecure
                    || options.insecure_registries.iter().any(|known| known == reference.domain()),
                credentials_file: options.credentials_file.clone(),
                login,
                ..self.config.registries.clone()
            };
            let registry = Registry::new(runtime, Some(&self.places), reference, given, notes)?;
            self.pull_from(&registry, source, options, progress)
        })
    }

    /// Pulls from an opened source.
    pub(crate) fn pull_from(
        &self,
        place: &dyn Source,
        source: &ImageSource,
        options: &PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<Image> {
        let wanted = self.describe(place, source, options)?;
        match self.lease_if_there(&wanted, progress)? {
            Some(image) => Ok(image),
            None => self.fetch(place, &wanted, options, progress),
        }
    }

    /// Fetches what the store lacks of the image, and records it.
    fn fetch(
        &self,
        place: &dyn Source,
        wanted: &Wanted,
        options: &PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<Image> {
        if options.nameless {
            self.sweep();
        }
        let mut held = Held::none(&self.places)?;
        for _ in 0..ROUNDS {
            self.fetch_layers(place, &wanted.layers, options.limit, &mut held, progress)?;
            if let Some(image) = self.commit(&wanted.described, &mut held)? {
                return Ok(image);
            }
        }
        Err(Failure::new(
            ErrorKind::Conflict,
            format!("layers of {} were removed again and again while it was pulled", wanted.shown),
        ))
    }
}

/// Hands the sentences of a registry's client on while `work` goes on with it. The client must not outlive it.
pub(crate) fn with_notes<T>(progress: &dyn PullProgress, work: impl FnOnce(Notes) -> T) -> T {
    let (send, sentences) = std::sync::mpsc::channel::<String>();
    std::thread::scope(|scope| {
        // With the client this channel ends. Where no thread can be had the sentences are not told.
        threads::start(scope, move || sentences.iter().for_each(|sentence| progress.note(&sentence))).ok();
        let send = std::sync::Mutex::new(send);
        let notes = std::sync::Arc::new(move |sentence: &str| {
            let sender = send.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            sender.send(sentence.to_owned()).ok();
        });
        work(notes)
    })
}

/// The image as messages call it.
pub(crate) fn shown_source(source: &ImageSource) -> String {
    match source {
        ImageSource::Registry(text) => format!("`{}`", shown(text)),
        ImageSource::OciLayout { directory: path, .. }
        | ImageSource::OciArchive { file: path, .. }
        | ImageSource::RootfsTar(path)
        | ImageSource::DockerArchive { file: path, .. } => format!("`{}`", path.display()),
    }
}

#[cfg(test)]
mod tests;
