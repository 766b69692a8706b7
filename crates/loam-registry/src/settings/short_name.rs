//! Names without a registry: what they stand for.

use super::Settings;
use crate::error::RegistryError;
use crate::reference::Reference;

/// How many meanings of a name a person is told of.
const SHOWN: usize = 10;

impl Settings {
    /// What a name without a registry stands for: what an alias says; else an image of the registry that is to be
    /// searched; and when none is named, of Docker Hub. With several to search it is nobody's guess: whoever serves the
    /// first of them could put a name there that is meant for another.
    pub(crate) fn meaning(&self, text: &str) -> Result<Reference, RegistryError> {
        let reference: Reference = text.parse()?;
        if Reference::names_registry(text) {
            return Ok(reference);
        }
        let short = Reference::written_name(text);
        if let Some(target) = self.aliases.get(short)
            && let Some(target) = reference.relocated(target)
        {
            return Ok(target);
        }
        let found = self.search.iter().filter_map(|host| reference.relocated(&format!("{host}/{short}")));
        match &found.collect::<Vec<_>>()[..] {
            [] => Ok(reference),
            [only] => Ok(only.clone()),
            several => Err(RegistryError::AmbiguousName {
                name: text.to_owned(),
                path: self.search_file.clone(),
                candidates: several.iter().take(SHOWN).map(Reference::canonical).collect(),
            }),
        }
    }
}
