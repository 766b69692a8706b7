//! Cached results, in the format of libcni (`cniCacheV1`), so that its tools can read them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loam_cni::CniResult;
use loam_cni::protocol::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const KIND: &str = "cniCacheV1";

/// Why the cache can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("writing cached result `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
    #[error("removing cached result `{0}` failed")]
    Remove(PathBuf, #[source] io::Error),
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
    #[serde(default, rename = "capabilityArgs", skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
    result: Value,
}

/// A cached attachment.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The text of the configuration list that it was made with.
    pub(crate) config: String,
    /// The capability arguments.
    pub(crate) capability_args: Map<String, Value>,
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

    /// Keeps the result of an attachment.
    pub(crate) fn keep(
        &self,
        key: Key<'_>,
        namespace: &Path,
        config: &str,
        capability_args: &Map<String, Value>,
        result: Value,
    ) -> Result<(), CacheError> {
        let path = self.path(key);
        let failed = |cause| CacheError::Write(path.clone(), cause);
        let stored = Stored {
            kind: KIND.into(),
            container_id: key.container.into(),
            config: STANDARD.encode(config),
            interface: key.interface.into(),
            network: key.network.into(),
            netns: Some(namespace.to_owned()),
            capability_args: capability_args.clone(),
            result,
        };
        let bytes = serde_json::to_vec(&stored).map_err(|cause| failed(cause.into()))?;
        let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = match open() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
                open().map_err(failed)?
            }
            file => file.map_err(failed)?,
        };
        file.write_all(&bytes).map_err(failed)
    }

    /// Reads an attachment; `None` when there is none, or one that is not whole.
    pub(crate) fn read(&self, key: Key<'_>) -> Option<Cached> {
        let stored: Stored = serde_json::from_slice(&fs::read(self.path(key)).ok()?).ok()?;
        if stored.kind != KIND {
            return None;
        }
        Some(Cached {
            config: String::from_utf8(STANDARD.decode(stored.config).ok()?).ok()?,
            capability_args: stored.capability_args,
            result: CniResult::parse(&stored.result, Version::NEWEST).ok()?,
        })
    }

    /// Forgets an attachment.
    pub(crate) fn forget(&self, key: Key<'_>) -> Result<(), CacheError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(CacheError::Remove(path, cause)),
            _ => Ok(()),
        }
    }
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
        cache.keep(key, Path::new("/proc/1/ns/net"), "{}", &args, result).expect("writable");
        let text =
            fs::read_to_string(directory.path().join("results/n-1-c-1-eth0")).expect("as libcni names it");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["kind"], "cniCacheV1");
        assert_eq!(value["config"], "e30=");
        assert_eq!(value["networkName"], "n-1");
        let cached = cache.read(key).expect("kept");
        assert_eq!((cached.config.as_str(), cached.result.ips.len()), ("{}", 1));
        cache.forget(key).expect("removable");
        cache.forget(key).expect("idempotent");
        assert!(cache.read(key).is_none());
    }
}
