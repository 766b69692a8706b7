//! Configuration lists (CNI SPEC.md, section 1; the loading rules of libcni).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use loam_cni::CniError;
use loam_cni::protocol::{Version, check_network_name, check_plugin_type};
use serde_json::{Map, Value};

/// The largest configuration that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Why a network's configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConflistError {
    /// The directory or a file can't be read.
    #[error("reading `{0}` failed")]
    Read(PathBuf, #[source] io::Error),
    /// A file is too long.
    #[error("`{0}` is longer than {MAX_BYTES} bytes")]
    TooLong(PathBuf),
    /// The text is no configuration list.
    #[error("the configuration list is not valid: {0}")]
    Invalid(String),
    /// A name, type or version is not valid.
    #[error("the configuration list is not valid")]
    Protocol(#[source] CniError),
}

/// A network's configuration.
#[derive(Clone, Debug)]
pub(crate) struct NetworkList {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) plugins: Vec<Map<String, Value>>,
    /// The text, as it goes into the cache.
    pub(crate) text: String,
}

impl NetworkList {
    /// Reads a list from its text.
    pub(crate) fn parse(text: String) -> Result<Self, ConflistError> {
        let invalid = |what: &str| ConflistError::Invalid(what.to_owned());
        let value: Value =
            serde_json::from_str(&text).map_err(|cause| ConflistError::Invalid(cause.to_string()))?;
        let object = value.as_object().ok_or_else(|| invalid("it is not a JSON object"))?;
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        check_network_name(&name).map_err(ConflistError::Protocol)?;
        let version = choose_version(object)?;
        let plugins = match object.get("plugins") {
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins,
            _ => return Err(invalid("it has no plugins")),
        };
        let plugins = plugins
            .iter()
            .map(|plugin| {
                let plugin = plugin.as_object().ok_or_else(|| invalid("a plugin is not a JSON object"))?;
                check_plugin_type(plugin.get("type").and_then(Value::as_str).unwrap_or_default())
                    .map_err(ConflistError::Protocol)?;
                Ok(plugin.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name, version, plugins, text })
    }

    /// Whether one of its plugins has a capability.
    pub(crate) fn has_capability(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| has_capability(plugin, capability))
    }
}

/// Whether a plugin has a capability.
pub(crate) fn has_capability(plugin: &Map<String, Value>, capability: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(capability)).and_then(Value::as_bool) == Some(true)
}

/// The newest version of `cniVersion` and `cniVersions` that we know.
fn choose_version(object: &Map<String, Value>) -> Result<Version, ConflistError> {
    let single = object.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
    let Some(several) = object.get("cniVersions").and_then(Value::as_array) else {
        return Version::parse(single).map_err(ConflistError::Protocol);
    };
    let mut known = Vec::new();
    for value in several {
        let text = value.as_str().ok_or_else(|| ConflistError::Invalid("a version is not a text".into()))?;
        known.extend(Version::parse(text).ok());
    }
    known.extend(Version::parse(single).ok().filter(|_| !single.is_empty()));
    let newest = known.into_iter().max();
    newest.ok_or_else(|| ConflistError::Invalid("none of its versions is supported".into()))
}

/// Finds a network by name: the file of that name first, then all in the order of their names.
pub(crate) fn find(directory: &Path, name: &str) -> Result<Option<NetworkList>, ConflistError> {
    let direct = directory.join(format!("{name}.conflist"));
    if let Some(list) = read(&direct)?.filter(|list| list.name == name) {
        return Ok(Some(list));
    }
    Ok(all(directory)?.into_iter().find(|list| list.name == name))
}

/// Reads all networks of a directory. One that is not valid is left out, and told in the log.
pub(crate) fn all(directory: &Path) -> Result<Vec<NetworkList>, ConflistError> {
    let failed = |cause| ConflistError::Read(directory.to_owned(), cause);
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conflist") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut lists = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(list) => lists.extend(list),
            Err(error) => tracing::warn!(path = %path.display(), %error, "network left out"),
        }
    }
    Ok(lists)
}

fn read(path: &Path) -> Result<Option<NetworkList>, ConflistError> {
    let failed = |cause| ConflistError::Read(path.to_owned(), cause);
    let file = match File::open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ConflistError::TooLong(path.to_owned()));
    }
    NetworkList::parse(text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NetworkList, ConflistError> {
        NetworkList::parse(text.to_owned())
    }

    #[test]
    fn hostile_and_broken_lists_are_refused() {
        for bad in [
            "",
            "[]",
            r#"{"name":"n"}"#,
            r#"{"name":"n","plugins":[]}"#,
            r#"{"name":"n","plugins":[{}]}"#,
            r#"{"name":"n","plugins":[{"type":"../../bin/sh"}]}"#,
            r#"{"name":"../n","plugins":[{"type":"bridge"}]}"#,
            r#"{"plugins":[{"type":"bridge"}]}"#,
            r#"{"name":"n","cniVersion":"7.0.0","plugins":[{"type":"bridge"}]}"#,
            r#"{"name":"n","cniVersions":["7.0.0"],"plugins":[{"type":"bridge"}]}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_newest_known_version_is_taken() {
        let text = r#"{"name":"n","cniVersion":"0.3.1","cniVersions":["0.4.0","1.1.0","7.0.0"],
                       "plugins":[{"type":"bridge","capabilities":{"mac":true,"ips":false}}]}"#;
        let list = parse(text).expect("valid");
        assert_eq!(list.version, Version::V1_1_0);
        assert!(list.has_capability("mac") && !list.has_capability("ips"));
    }

    #[test]
    fn a_network_is_found_by_the_name_in_its_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).expect("writable");
        write("a.conflist", r#"{"name":"b","plugins":[{"type":"bridge"}]}"#);
        write("broken.conflist", "{");
        write("b.conflist", r#"{"name":"c","plugins":[{"type":"bridge"}]}"#);
        let find = |name| find(directory.path(), name).expect("readable").map(|list| list.name);
        assert_eq!(find("b").as_deref(), Some("b"));
        assert_eq!(find("c").as_deref(), Some("c"));
        assert_eq!(find("d"), None);
        assert_eq!(all(Path::new("/nowhere")).expect("no directory is no network").len(), 0);
    }
}
