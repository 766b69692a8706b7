//! Finding the image that a person's word means.

use loam_model::{DigestAlgorithm, ErrorKind, Failure, Image, Result, shown};
use loam_registry::Reference;
use rusqlite::Connection;

use crate::{LayerStore, catalog, names};

/// The fewest digits of an id that count as its beginning.
const SHORTEST_PREFIX: usize = 4;

/// What a word means.
#[derive(Debug)]
pub(crate) enum Found {
    /// An image, and the name that the word stood for, unless it was an id.
    Image {
        id: String,
        name: Option<String>,
    },
    Nothing,
    /// The beginning of more than one id.
    Ambiguous,
}

/// Looks a word up: names before ids, an exact name before all. `meaning` tells what a short name stands for.
pub(crate) fn find(
    connection: &Connection,
    word: &str,
    meaning: &dyn Fn(&str) -> Option<String>,
) -> rusqlite::Result<Found> {
    let named = |names: Vec<String>| -> rusqlite::Result<Option<Found>> {
        for name in names {
            if let Some(id) = catalog::named(connection, &name)? {
                return Ok(Some(Found::Image { id, name: Some(name) }));
            }
        }
        Ok(None)
    };
    if let Some(found) = named(names::candidates(word))? {
        return Ok(found);
    }
    if let Some(found) = named(names::further_candidates(word, meaning))? {
        return Ok(found);
    }
    if let Ok(reference) = names::reference(word)
        && let Some(digest) = reference.digest()
        && let Some(id) = catalog::with_manifest(connection, digest)?
    {
        return Ok(Found::Image { id, name: None });
    }
    let (algorithm, digits) = word.split_once(':').unwrap_or((DigestAlgorithm::Sha256.as_str(), word));
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || digits.len() < SHORTEST_PREFIX || !matches!(algorithm, "sha256" | "sha512") {
        return Ok(Found::Nothing);
    }
    let mut ids = catalog::with_prefix(connection, algorithm, digits)?;
    Ok(match (ids.pop(), ids.pop()) {
        (Some(id), None) => Found::Image { id, name: None },
        (Some(_), Some(_)) => Found::Ambiguous,
        _ => Found::Nothing,
    })
}

/// The failure for a word that means no image, or several.
pub(crate) fn not_found(word: &str, found: &Found) -> Failure {
    let word = shown(word);
    match found {
        Found::Ambiguous => {
            Failure::new(ErrorKind::Invalid, format!("`{word}` is the beginning of several image ids"))
                .hint("give more digits of the id")
        }
        _ => Failure::new(ErrorKind::NotFound, format!("there is no image `{word}`")),
    }
}

impl LayerStore {
    /// What a name stands for that a person wrote, whole.
    pub(crate) fn meaning(&self, text: &str) -> Result<Reference> {
        self.config.registries.settings.meaning(text).map_err(loam_registry::RegistryError::into_failure)
    }

    /// What a short name stands for, when there is no doubt about it.
    pub fn stands_for(&self, word: &str) -> Option<String> {
        self.config.registries.settings.meaning(word).ok().map(|reference| reference.canonical())
    }

    pub(crate) fn resolve_name(&self, word: &str) -> Result<Image> {
        self.look_up(word).map(|(_, image)| image)
    }

    /// The image that a word means, and what the word was.
    pub(crate) fn look_up(&self, word: &str) -> Result<(Found, Image)> {
        let (found, image) = self.database.read(|connection| {
            let found = find(connection, word, &|word| self.stands_for(word))?;
            let image = match &found {
                Found::Image { id, .. } => catalog::image(connection, id)?,
                _ => None,
            };
            Ok((found, image))
        })?;
        match image {
            Some(image) => Ok((found, image)),
            None => Err(not_found(word, &found)),
        }
    }
}
