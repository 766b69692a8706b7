//! Choosing an image from an index (image-index.md).

use loam_model::{Digest, ErrorKind, Failure, Result, shown};

use super::{Descriptor, Document, Manifest, RawDocument};
use crate::error::invalid;
use crate::platform::Platform;

/// How deep indexes may be nested.
const DEPTH_LIMIT: usize = 4;
/// How many entries an index may have.
const ENTRY_LIMIT: usize = 1000;
/// How BuildKit marks the statements about images that it puts beside them.
const STATEMENT: &str = "vnd.docker.reference.type";

/// The manifest for a platform, and its bytes; `fetch` gets further documents.
pub(crate) fn select(
    top: RawDocument,
    wanted: &Platform,
    name: &str,
    fetch: &dyn Fn(&Descriptor) -> Result<RawDocument>,
) -> Result<(RawDocument, Manifest)> {
    let mut raw = top;
    let mut seen: Vec<Digest> = Vec::new();
    loop {
        let entries = match Document::parse(&raw, name)? {
            Document::Manifest(manifest) => return Ok((raw, manifest)),
            Document::Index(entries) => entries,
        };
        if seen.contains(&raw.digest) || seen.len() == DEPTH_LIMIT {
            return Err(invalid(format!("the index of {name} is nested too deep")));
        }
        seen.push(raw.digest.clone());
        let entry = choose(&entries, wanted, name)?;
        raw = fetch(entry)?;
        let promised = entry.media_type.as_deref().unwrap_or("");
        if !promised.is_empty() && !raw.media_type.is_empty() && raw.media_type != promised {
            return Err(invalid(format!(
                "the manifest `{}` is not of the type that the index of {name} says",
                raw.digest
            )));
        }
    }
}

/// The entry of an index for a platform.
pub(crate) fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform, name: &str) -> Result<&'a Descriptor> {
    if entries.len() > ENTRY_LIMIT {
        return Err(invalid(format!("the index of {name} has more than {ENTRY_LIMIT} entries")));
    }
    let images: Vec<&Descriptor> = entries.iter().filter(|entry| is_image(entry)).collect();
    if let [only] = images[..]
        && only.platform.is_none()
    {
        // Its configuration will tell.
        return Ok(only);
    }
    let distance = |entry: &Descriptor| entry.platform.as_ref().and_then(|p| p.distance(wanted));
    let suitable = images.iter().filter_map(|entry| Some((distance(entry)?, *entry)));
    if let Some((_, entry)) = suitable.min_by_key(|(distance, _)| *distance) {
        return Ok(entry);
    }
    // An index in an index need not say what it is for.
    let is_index =
        |entry: &Descriptor| entry.media_type.as_deref().is_some_and(|kind| kind.contains("index"));
    if let Some(nested) = images.iter().find(|entry| entry.platform.is_none() && is_index(entry)) {
        return Ok(nested);
    }
    let mut offered: Vec<String> = images
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .map(|platform| shown(&platform.normal().to_string()))
        .collect();
    offered.dedup();
    offered.truncate(20);
    let failure =
        Failure::new(ErrorKind::NotFound, format!("{name} has no image for the platform `{wanted}`"));
    if offered.is_empty() {
        return Err(failure);
    }
    Err(failure.hint(format!("there are images for {}", offered.join(", "))))
}

fn is_image(entry: &Descriptor) -> bool {
    let unknown = entry.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown");
    !unknown && entry.annotation(STATEMENT).is_none()
}
