//! `registries.conf`, version 2 (containers-registries.conf(5)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::toml_file;
use crate::error::{RegistryError, printable};
use crate::reference::Reference;

/// The file as it stands.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Raw {
    unqualified_search_registries: Option<Vec<String>>,
    registry: Vec<RawRegistry>,
    aliases: BTreeMap<String, String>,
    /// What version 1 had instead.
    registries: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawRegistry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<RawMirror>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Option<String>,
}

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct RegistriesFile {
    pub(super) registries: Vec<Registry>,
    /// `None` takes an alias of an earlier file back.
    pub(super) aliases: BTreeMap<String, Option<String>>,
    pub(super) search: Option<Vec<String>>,
}

/// What is to be known of the names with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// `host[:port][/path]` or `*.domain`.
    pub(super) prefix: String,
    /// What stands in place of the prefix in requests; empty to leave it.
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
    /// The file that says so.
    pub(super) file: PathBuf,
}

/// A place that is asked before the registry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) only: Only,
}

/// Which pulls a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    /// All of them.
    All,
    /// Those by digest.
    Digests,
    /// Those by tag.
    Tags,
}

impl RegistriesFile {
    /// Reads a file; `None` when there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, RegistryError> {
        let Some(raw) = toml_file::read::<Raw>(path)? else { return Ok(None) };
        Self::check(raw, path).map(Some)
    }

    /// Reads the text of a file.
    #[cfg(feature = "fuzzing")]
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, RegistryError> {
        Self::check(toml_file::parse(text, path)?, path)
    }

    fn check(raw: Raw, path: &Path) -> Result<Self, RegistryError> {
        if raw.registries.is_some() {
            return Err(toml_file::bad(path, "`registries`: the file is in the old version 1 of its format"));
        }
        let registries = raw.registry.into_iter().map(|registry| registry.check(path));
        let aliases = raw.aliases.into_iter().map(|(name, target)| alias(name, target, path));
        for host in raw.unqualified_search_registries.iter().flatten() {
            location(host, "unqualified-search-registries", path)?;
        }
        Ok(Self {
            registries: registries.collect::<Result<_, _>>()?,
            aliases: aliases.collect::<Result<_, _>>()?,
            search: raw.unqualified_search_registries,
        })
    }
}

impl RawRegistry {
    fn check(self, path: &Path) -> Result<Registry, RegistryError> {
        let wildcard = self.prefix.starts_with("*.");
        let (prefix, place) = match (self.prefix.is_empty(), self.location.is_empty()) {
            (true, true) => {
                return Err(toml_file::bad(path, "a `[[registry]]` has neither `prefix` nor `location`"));
            }
            (true, false) => (&self.location, &self.location),
            (false, true) if wildcard => (&self.prefix, &self.location),
            (false, true) => (&self.prefix, &self.prefix),
            (false, false) => (&self.prefix, &self.location),
        };
        let prefix = match prefix.strip_prefix("*.") {
            Some(domain) => format!("*.{}", location(domain, "prefix", path)?),
            None => location(prefix, if self.prefix.is_empty() { "location" } else { "prefix" }, path)?,
        };
        let place = if place.is_empty() { String::new() } else { location(place, "location", path)? };
        let mirrors = self.mirror.into_iter().map(|mirror| mirror.check(self.mirror_by_digest_only, path));
        Ok(Registry {
            prefix,
            location: place,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors: mirrors.collect::<Result<_, _>>()?,
            file: path.to_owned(),
        })
    }
}

impl RawMirror {
    fn check(self, digests_only: bool, path: &Path) -> Result<Mirror, RegistryError> {
        let only = match (self.pull_from_mirror.as_deref(), digests_only) {
            (None | Some(""), false) => Only::All,
            (None | Some(""), true) => Only::Digests,
            (Some(_), true) => {
                let reason = "`pull-from-mirror` and `mirror-by-digest-only` can't both be set";
                return Err(toml_file::bad(path, reason));
            }
            (Some("all"), false) => Only::All,
            (Some("digest-only"), false) => Only::Digests,
            (Some("tag-only"), false) => Only::Tags,
            (Some(other), false) => {
                let other = printable(other, 40);
                let reason = format!("`pull-from-mirror` is `{other}`, not all, digest-only or tag-only");
                return Err(toml_file::bad(path, reason));
            }
        };
        if self.location.is_empty() {
            return Err(toml_file::bad(path, "a `[[registry.mirror]]` has no `location`"));
        }
        Ok(Mirror { location: location(&self.location, "location", path)?, insecure: self.insecure, only })
    }
}

/// Checks `host[:port][/path]`.
fn location(text: &str, key: &str, path: &Path) -> Result<String, RegistryError> {
    let place = text.strip_suffix('/').unwrap_or(text);
    // With something behind it, it must be a name.
    match Reference::in_registry(&format!("{place}/x")) {
        Some(_) => Ok(place.to_owned()),
        None => {
            let reason = format!("`{key}` is `{}`, not host[:port][/path]", printable(text, 80));
            Err(toml_file::bad(path, reason))
        }
    }
}

fn alias(name: String, target: String, path: &Path) -> Result<(String, Option<String>), RegistryError> {
    let bad = |what: &str| Err(toml_file::bad(path, format!("`aliases.{}` {what}", printable(&name, 80))));
    if Reference::names_registry(&name) || format!("{name}:x").parse::<Reference>().is_err() {
        return bad("is not a short name");
    }
    if target.is_empty() {
        return Ok((name, None));
    }
    match Reference::in_registry(&target) {
        Some(reference)
            if reference.digest().is_none()
                && !target.ends_with(":latest")
                && reference.tag() == Some("latest") =>
        {
            Ok((name, Some(target)))
        }
        _ => bad("is not host[:port]/path without tag and digest"),
    }
}
