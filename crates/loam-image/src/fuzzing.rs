//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

use std::sync::Mutex;

use loam_model::{Digest, Result};

use crate::document::{Config, Document, RawDocument};
use crate::hashing::sha256;
use crate::platform::Platform;
use crate::source::{self, DockerArchive, Files, Layout, Memory, Source};

fn raw(bytes: &[u8], media_type: &str) -> RawDocument {
    RawDocument { media_type: media_type.to_owned(), digest: sha256(bytes), bytes: bytes.to_vec() }
}

/// Reads a manifest or an index that is served as this media type; whether it is an index, and how many it names.
pub fn document(bytes: &[u8], media_type: &str) -> Result<(bool, usize)> {
    Ok(match Document::parse(&raw(bytes, media_type), "`x`")? {
        Document::Index(entries) => (true, entries.len()),
        Document::Manifest(manifest) => (false, manifest.layers.len()),
    })
}

/// Reads a configuration, and holds it against a manifest with as many layers, and against this machine; the diff ids.
pub fn config(bytes: &[u8]) -> Result<Vec<Digest>> {
    let config = Config::parse(bytes, "`x`")?;
    config.check(config.diff_ids.len(), &Platform::host(), "`x`")?;
    Ok(config.diff_ids)
}

/// Chooses the image for a platform, given as text: the first document is the top, each that is fetched the next one. The
/// bytes of the chosen manifest.
pub fn select(documents: &[&[u8]], platform: &str) -> Result<Vec<u8>> {
    let wanted: Platform = platform.parse()?;
    let mut rest = documents.iter();
    let top = raw(rest.next().copied().unwrap_or_default(), "");
    let rest = Mutex::new(rest);
    let fetch = |_: &crate::document::Descriptor| {
        let next = rest.lock().ok().and_then(|mut rest| rest.next().copied());
        next.map(|bytes| raw(bytes, "")).ok_or_else(|| crate::error::invalid("there is no such document"))
    };
    crate::document::select(top, &wanted, "`x`", &fetch).map(|(raw, _)| raw.bytes)
}

/// Opens the images of an archive, Docker's or a layout, and reads everything that they point to. How many bytes came.
pub fn archived_images(bytes: &[u8], name: Option<&str>) -> Result<u64> {
    let files = || Memory::open(bytes);
    source::names_in(&files()?)?;
    let opened: Box<dyn Source> = if files()?.open("manifest.json")?.is_some() {
        Box::new(DockerArchive::open(files()?, name)?)
    } else {
        Box::new(Layout::open(files()?, name)?)
    };
    let top = opened.top()?;
    let fetch = |descriptor: &crate::document::Descriptor| opened.document(descriptor);
    let (_, manifest) = crate::document::select(top, &Platform::host(), "`x`", &fetch)?;
    let mut came = 0;
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        let (blob, promise) = opened.blob(descriptor)?;
        let mut intake = crate::intake::Intake::new(blob, promise, &|_| {});
        intake.start()?;
        came += intake.finish()?;
    }
    Ok(came)
}

/// The names that a person's word for an image may mean, and those that an image from this source gets.
pub fn names(text: &str) -> Vec<String> {
    let mut found = crate::names::candidates(text);
    found.extend(crate::names::further_candidates(text, &|_| None));
    found.extend(crate::names::given(text));
    if let Ok(source) = crate::parse_source(text) {
        found.extend(crate::names::of_source(&source, None).ok().flatten());
    }
    found
}
