//! An OCI image layout (image specification, image-layout.md): `oci-layout`, `index.json`, `blobs/ALGORITHM/HEX`.

use std::collections::HashMap;

use loam_model::{ErrorKind, Failure, Reason, Result, shown};

use super::{Files, Source};
use crate::document::{Descriptor, Document, MANIFEST_LIMIT, RawDocument};
use crate::error::invalid;
use crate::error::wrap;
use crate::hashing::sha256;
use crate::intake::{Blob, Promise};

/// The annotation that names an image within a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and Docker write the whole name.
const FULL_NAME: &str = "io.containerd.image.name";

/// An image in a layout.
pub(crate) struct Layout<F> {
    files: F,
    top: Descriptor,
}

/// The names of each image in a layout.
pub(super) fn names_in(files: &impl Files) -> Result<Vec<Vec<String>>> {
    let mut images: Vec<Vec<String>> = Vec::new();
    let mut places = HashMap::new();
    for entry in read_index(files)? {
        let name = entry.annotation(FULL_NAME).or_else(|| entry.annotation(REF_NAME)).map(str::to_owned);
        let place = *places.entry(entry.digest).or_insert(images.len());
        if place == images.len() {
            images.push(Vec::new());
        }
        images[place].extend(name);
    }
    Ok(images)
}

fn read_index(files: &impl Files) -> Result<Vec<Descriptor>> {
    let place = files.describe();
    let missing = || {
        let what = format!("{place} is not an OCI image layout: it has no `index.json`");
        Failure::new(ErrorKind::NotFound, what).because(Reason::NoSource)
    };
    let bytes = files.read("index.json", MANIFEST_LIMIT)?.ok_or_else(missing)?;
    let index = RawDocument { media_type: String::new(), digest: sha256(&bytes), bytes };
    match Document::parse(&index, &place)? {
        Document::Index(entries) => Ok(entries),
        _ => Err(invalid(format!("`index.json` in {place} is no index"))),
    }
}

impl<F: Files> Layout<F> {
    /// Whether these files are a layout.
    pub(crate) fn is_in(files: &F) -> Result<bool> {
        Ok(files.open("index.json")?.is_some() && files.open("oci-layout")?.is_some())
    }

    /// Finds the image with this tag, or the only one.
    pub(crate) fn open(files: F, tag: Option<&str>) -> Result<Self> {
        let place = files.describe();
        let entries = read_index(&files)?;
        let top = choose(&entries, tag, &place)?.clone();
        Ok(Self { files, top })
    }

    /// The file of a blob; `None` when the layout lacks it.
    pub(super) fn find(&self, descriptor: &Descriptor) -> Result<Option<super::files::Content>> {
        let digest = &descriptor.digest;
        self.files.open(&format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex()))
    }

    pub(super) fn content(&self, descriptor: &Descriptor) -> Result<super::files::Content> {
        self.find(descriptor)?.ok_or_else(|| {
            let what = format!("{} lacks the blob `{}`", self.files.describe(), descriptor.digest);
            Failure::new(ErrorKind::NotFound, what)
        })
    }

    /// The descriptor of the image.
    pub(super) fn top_descriptor(&self) -> &Descriptor {
        &self.top
    }

    /// Reads a manifest or index, and holds it against this.
    pub(super) fn read_document(&self, descriptor: &Descriptor, promise: Promise) -> Result<RawDocument> {
        let bytes = self.content(descriptor)?.read(promise, MANIFEST_LIMIT).map_err(|failure| {
            wrap(
                failure,
                &format!("the manifest `{}` in {} can't be used", descriptor.digest, self.files.describe()),
            )
        })?;
        let media_type = descriptor.media_type.clone().unwrap_or_default();
        Ok(RawDocument { media_type, digest: descriptor.digest.clone(), bytes })
    }
}

fn choose<'a>(entries: &'a [Descriptor], tag: Option<&str>, place: &str) -> Result<&'a Descriptor> {
    let names = |entry: &'a Descriptor| [entry.annotation(REF_NAME), entry.annotation(FULL_NAME)];
    let Some(tag) = tag else {
        return match entries {
            // One image may have several names, each with an entry of its own.
            [first, rest @ ..] if rest.iter().all(|entry| entry.digest == first.digest) => Ok(first),
            [] => Err(Failure::new(ErrorKind::NotFound, format!("{place} holds no image"))),
            _ => Err(Failure::new(ErrorKind::Invalid, format!("{place} holds several images"))
                .hint(format!("name one of {}", list(entries.iter().flat_map(names).flatten())))),
        };
    };
    entries.iter().find(|entry| names(entry).contains(&Some(tag))).ok_or_else(|| {
        let failure = Failure::new(ErrorKind::NotFound, format!("{place} has no image `{}`", shown(tag)));
        match list(entries.iter().flat_map(names).flatten()) {
            known if known.is_empty() => failure,
            known => failure.hint(format!("it has {known}")),
        }
    })
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.take(10).map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ")
}

impl<F: Files> Source for Layout<F> {
    fn top(&self) -> Result<RawDocument> {
        self.document(&self.top)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        let promise = Promise { digest: Some(descriptor.digest.clone()), size: Some(descriptor.size) };
        self.read_document(descriptor, promise)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let promise = Promise { digest: Some(descriptor.digest.clone()), size: Some(descriptor.size) };
        Ok((self.content(descriptor)?.into_blob(), promise))
    }

    fn found_name(&self) -> Option<String> {
        let name = self.top.annotation(FULL_NAME).or_else(|| self.top.annotation(REF_NAME));
        name.map(str::to_owned)
    }
}
