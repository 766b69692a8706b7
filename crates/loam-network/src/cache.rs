//! Cached results, in the format of libcni (`cniCacheV1`), so that its tools can read them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loam_cni::CniResult;
use loam_cni::protocol::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const KIND: &str = "cniCacheV1";
/// The largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Why the cache can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("writing cached result `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
    #[error("removing cached result `{0}` failed")]
    Remove(PathBuf, #[source] io::Error),
    #[error("listing cached results in `{0}` failed")]
    List(PathBuf, #[source] io::Error),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    kind: String,
    #[serde(rename = "containerId")]
    container_id: String,
    config: String,
    #[serde(rename = "ifName")]
    interface: String,
    #[serde(rename = "networkName")]
    network: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<PathBuf>,
    #[serde(default, rename = "cniArgs", skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<(String, String)>,
    #[serde(default, rename = "capabilityArgs", skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
    result: Value,
}

/// What is known of an attachment that was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made<'a> {
    pub(crate) namespace: &'a Path,
    /// The text of the configuration list.
    pub(crate) config: &'a str,
    pub(crate) capability_args: &'a Map<String, Value>,
    pub(crate) arguments: &'a [(String, String)],
}

/// A cached attachment.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The text of the configuration list that it was made with; absent in files of libcni before 0.7.
    pub(crate) config: Option<String>,
    /// The capability arguments.
    pub(crate) capability_args: Map<String, Value>,
    /// `CNI_ARGS`.
    pub(crate) arguments: Vec<(String, String)>,
    /// The result.
    pub(crate) result: CniResult,
}

/// Which attachment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) network: &'a str,
    pub(crate) container: &'a str,
    pub(crate) interface: &'a str,
}

/// Whose result a file has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) network: String,
    pub(crate) container: String,
    pub(crate) interface: String,
}

impl Entry {
    pub(crate) fn key(&self) -> Key<'_> {
        Key { network: &self.network, container: &self.container, interface: &self.interface }
    }
}

#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(crate) fn new(cache_dir: &Path) -> Self {
        Self { directory: cache_dir.join("results") }
    }

    fn path(&self, key: Key<'_>) -> PathBuf {
        self.directory.join(format!("{}-{}-{}", key.network, key.container, key.interface))
    }

    /// Where a result is written before it has its name.
    fn beside(&self, key: Key<'_>) -> PathBuf {
        self.directory.join(format!(".{}-{}", key.container, key.interface))
    }

    /// Keeps the result of an attachment. The file is there whole or not at all.
    pub(crate) fn keep(&self, key: Key<'_>, made: Made<'_>, result: Value) -> Result<(), CacheError> {
        let path = self.path(key);
        let failed = |cause| CacheError::Write(path.clone(), cause);
        let stored = Stored {
            kind: KIND.into(),
            container_id: key.container.into(),
            config: STANDARD.encode(made.config),
            interface: key.interface.into(),
            network: key.network.into(),
            netns: Some(made.namespace.to_owned()),
            arguments: made.arguments.to_vec(),
            capability_args: made.capability_args.clone(),
            result,
        };
        let bytes = serde_json::to_vec(&stored).map_err(|cause| failed(cause.into()))?;
        // Nobody else writes for this attachment meanwhile.
        let beside = self.beside(key);
        let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let mut file = match open() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
                open().map_err(failed)?
            }
            file => file.map_err(failed)?,
        };
        file.write_all(&bytes).and_then(|()| fs::rename(&beside, &path)).map_err(failed)
    }

    /// Reads an attachment; `None` when there is none, or one that is not whole.
    pub(crate) fn read(&self, key: Key<'_>) -> Option<Cached> {
        let value: Value = serde_json::from_slice(&read_bounded(&self.path(key))?).ok()?;
        if value.get("kind").and_then(Value::as_str) != Some(KIND) {
            let result = CniResult::parse(&value, Version::parse("").ok()?).ok()?;
            return Some(Cached { config: None, capability_args: Map::new(), arguments: Vec::new(), result });
        }
        let stored = Stored::deserialize(value).ok()?;
        Some(Cached {
            config: Some(String::from_utf8(STANDARD.decode(stored.config).ok()?).ok()?),
            capability_args: stored.capability_args,
            arguments: stored.arguments,
            result: CniResult::parse(&stored.result, Version::NEWEST).ok()?,
        })
    }

    /// Who has results: network, container and interface of each. Files that do not say it are left out.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, CacheError> {
        let failed = |cause| CacheError::List(self.directory.clone(), cause);
        let entries = match fs::read_dir(&self.directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let stored = read_bounded(&path).and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
            found.extend(stored.filter(|stored| stored.kind == KIND).map(|stored| Entry {
                network: stored.network,
                container: stored.container_id,
                interface: stored.interface,
            }));
        }
        found.sort();
        Ok(found)
    }

    /// Forgets an attachment, also one whose writer was killed before the result had its name.
    pub(crate) fn forget(&self, key: Key<'_>) -> Result<(), CacheError> {
        for path in [self.beside(key), self.path(key)] {
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(CacheError::Remove(path, cause));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_kept_is_read_and_forgotten() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::new(directory.path());
        let key = Key { network: "n-1", container: "c-1", interface: "eth0" };
        assert!(cache.read(key).is_none());
        let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/8"}]});
        let args = Map::from_iter([("mac".to_owned(), json!("02:00:00:00:00:01"))]);
        let arguments = [("K8S_POD_NAME".to_owned(), "p".to_owned())];
        let namespace = Path::new("/proc/1/ns/net");
        let made = Made { namespace, config: "{}", capability_args: &args, arguments: &arguments };
        cache.keep(key, made, result).expect("writable");
        let text =
            fs::read_to_string(directory.path().join("results/n-1-c-1-eth0")).expect("as libcni names it");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["kind"], "cniCacheV1");
        assert_eq!(value["config"], "e30=");
        assert_eq!(value["networkName"], "n-1");
        assert_eq!(value["cniArgs"], json!([["K8S_POD_NAME", "p"]]));
        let cached = cache.read(key).expect("kept");
        assert_eq!((cached.config.as_deref(), cached.result.ips.len()), (Some("{}"), 1));
        assert_eq!(cached.arguments, arguments);
        assert_eq!(cache.entries().expect("readable")[0].container, "c-1");
        // As `kill -9` leaves it between writing and naming.
        let beside = directory.path().join("results/.c-1-eth0");
        fs::write(&beside, "{").expect("writable");
        cache.forget(key).expect("removable");
        assert!(!beside.exists());
        cache.forget(key).expect("idempotent");
        assert!(cache.read(key).is_none());
    }

    #[test]
    fn bare_results_are_read_and_garbage_is_none() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::new(directory.path());
        let key = Key { network: "n", container: "c", interface: "eth0" };
        let write = |text: &str| {
            fs::create_dir_all(directory.path().join("results")).expect("writable");
            fs::write(directory.path().join("results/n-c-eth0"), text).expect("writable");
        };
        write(r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/8"}]}"#);
        let cached = cache.read(key).expect("a result");
        assert_eq!((cached.config, cached.result.ips.len()), (None, 1));
        write(r#"{"ip4":{"ip":"10.0.0.2/8"}}"#);
        assert_eq!(cache.read(key).expect("an old result").result.ips.len(), 1);
        for garbage in ["", "{", "[]", r#"{"kind":"cniCacheV1"}"#, r#"{"cniVersion":"9.9.9"}"#] {
            write(garbage);
            assert!(cache.read(key).is_none(), "{garbage}");
        }
        assert_eq!(cache.entries().expect("readable"), []);
    }
}
