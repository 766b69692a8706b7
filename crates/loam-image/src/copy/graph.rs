//! All that belongs to an image, found from its top down, without a look at what it is for.

use std::collections::HashSet;

use loam_model::{Digest, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::document::{
    Descriptor, OCI_INDEX, OCI_MANIFEST, RawDocument, choose_entry, stays_away, unsupported,
};
use crate::error::invalid;
use crate::platform::Platform;
use crate::source::Source;

/// How deep indexes may be nested.
const DEPTH_LIMIT: usize = 4;
/// How many manifests and indexes an image may consist of.
const DOCUMENT_LIMIT: usize = 1000;

/// An image as a whole.
pub(super) struct Graph {
    /// What the destination's name will point to.
    pub(super) top: RawDocument,
    /// The documents below it, each after those that it names.
    pub(super) below: Vec<RawDocument>,
    /// The blobs, each once.
    pub(super) blobs: Vec<Part>,
}

/// A blob of an image.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) blob: Descriptor,
    /// Whether it is a configuration, which is too small to be spoken of.
    pub(super) is_config: bool,
}

/// The members of a manifest or index that name others (manifest.md, image-index.md).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
}

/// Reads all documents: of an index those for the wanted platform, or all when none is wanted.
pub(super) fn read(place: &dyn Source, wanted: Option<&Platform>, name: &str) -> Result<Graph> {
    let mut top = place.top()?;
    if let Some(wanted) = wanted {
        let mut depth = 0;
        while let Some(entries) = Outline::read(&mut top, name)?.manifests {
            depth += 1;
            if depth > DEPTH_LIMIT {
                return Err(too_deep(name));
            }
            top = place.document(choose_entry(&entries, wanted, name)?)?;
        }
    }
    let mut reading = Reading { place, name, seen: HashSet::new(), below: Vec::new(), blobs: Vec::new() };
    reading.document(&mut top, 0)?;
    Ok(Graph { top, below: reading.below, blobs: reading.blobs })
}

struct Reading<'a> {
    place: &'a dyn Source,
    name: &'a str,
    /// The digests of all that was found.
    seen: HashSet<Digest>,
    below: Vec<RawDocument>,
    blobs: Vec<Part>,
}

impl Reading<'_> {
    /// Takes note of all that a document names.
    fn document(&mut self, raw: &mut RawDocument, depth: usize) -> Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(too_deep(self.name));
        }
        let outline = Outline::read(raw, self.name)?;
        if let Some(config) = outline.config {
            self.blob(config, true);
        }
        outline.layers.into_iter().flatten().for_each(|layer| self.blob(layer, false));
        for entry in outline.manifests.into_iter().flatten() {
            if !is_document(&entry) {
                self.blob(entry, false);
            } else if self.seen.insert(entry.digest.clone()) {
                if self.below.len() == DOCUMENT_LIMIT {
                    return Err(invalid(format!("{} has more than {DOCUMENT_LIMIT} manifests", self.name)));
                }
                let mut child = self.place.document(&entry)?;
                self.document(&mut child, depth + 1)?;
                self.below.push(child);
            }
        }
        Ok(())
    }

    fn blob(&mut self, blob: Descriptor, is_config: bool) {
        if !stays_away(&blob) && self.seen.insert(blob.digest.clone()) {
            self.blobs.push(Part { blob, is_config });
        }
    }
}

impl Outline {
    /// Reads a document, and gives it the media type that it has when nobody says.
    fn read(raw: &mut RawDocument, name: &str) -> Result<Self> {
        let bad = |what: &str| invalid(format!("the manifest `{}` of {name} {what}", raw.digest));
        let outline: Self =
            serde_json::from_slice(&raw.bytes).map_err(|error| bad("is malformed").caused_by(error))?;
        if outline.schema_version == Some(1) || outline.fs_layers.is_some() {
            return Err(unsupported(format!("the image {name} is in Docker's old schema 1")));
        }
        let is_index = outline.manifests.is_some();
        if is_index && (outline.config.is_some() || outline.layers.is_some()) {
            return Err(bad("is an image's and an index at once"));
        }
        if !is_index && outline.config.is_none() && outline.layers.is_none() {
            return Err(bad("is neither an image's nor an index"));
        }
        if raw.media_type.is_empty() || raw.media_type.starts_with("application/json") {
            let usual = if is_index { OCI_INDEX } else { OCI_MANIFEST };
            raw.media_type = outline.media_type.clone().unwrap_or_else(|| usual.to_owned());
        }
        Ok(outline)
    }
}

/// Whether an entry of an index names a document, rather than a blob of another kind. Those that say nothing do.
fn is_document(entry: &Descriptor) -> bool {
    let kind = entry.media_type.as_deref().unwrap_or_default();
    kind.is_empty() || kind.contains(".manifest.") || kind.contains(".index.") || kind.contains(".manifest+")
}

fn too_deep(name: &str) -> loam_model::Failure {
    invalid(format!("the index of {name} is nested too deep"))
}
