//! One plugin's configuration, as it comes on standard input.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::attachment::ValidAttachments;
use super::error::{CniError, code};
use super::names::check_network_name;
use super::result::CniResult;
use super::version::Version;

/// The configuration of one call of one plugin.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    /// The version that the result must have.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The plugin's type.
    pub kind: String,
    /// The result of the plugins before, or of the whole chain for DEL and CHECK.
    pub previous: Option<CniResult>,
    /// All keys.
    pub raw: Map<String, Value>,
}

impl PluginConfig {
    /// The largest configuration that is read.
    pub const MAX_BYTES: usize = 4 << 20;

    /// Reads a configuration from JSON text.
    pub fn parse(bytes: &[u8]) -> Result<Self, CniError> {
        let value: Value = serde_json::from_slice(bytes).map_err(|cause| {
            CniError::new(code::DECODE, "the configuration is not valid JSON").because(&cause)
        })?;
        let Value::Object(raw) = value else {
            return Err(CniError::new(code::DECODE, "the configuration is not a JSON object"));
        };
        Self::from_map(raw)
    }

    /// Reads a configuration from a JSON object.
    pub fn from_map(raw: Map<String, Value>) -> Result<Self, CniError> {
        let text = |key: &str| raw.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").to_owned();
        check_network_name(&name)?;
        let version = Version::parse(text("cniVersion"))?;
        let kind = text("type").to_owned();
        let previous = match raw.get("prevResult") {
            None | Some(Value::Null) => None,
            Some(value) => Some(CniResult::parse(value, version)?),
        };
        Ok(Self { version, name, kind, previous, raw })
    }

    /// Reads the whole configuration into a type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, CniError> {
        T::deserialize(&Value::Object(self.raw.clone()))
            .map_err(|cause| CniError::invalid_config("the configuration is invalid").because(&cause))
    }

    /// Reads the value at a path of keys into a type; `None` when it is absent or null.
    pub fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, CniError> {
        let mut keys = path.iter();
        let mut value = keys.next().and_then(|key| self.raw.get(*key));
        for key in keys {
            value = value.and_then(|value| value.get(*key));
        }
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|cause| {
                CniError::invalid_config(format!("`{}` is invalid", path.join("."))).because(&cause)
            }),
        }
    }

    /// The result of the plugins before, which chained plugins need.
    pub fn require_previous(&self) -> Result<&CniResult, CniError> {
        self.previous.as_ref().ok_or_else(|| {
            CniError::invalid_config("`prevResult` is missing: the plugin must be called in a chain")
        })
    }

    /// The attachments that a GC keeps; an absent key is an error, so that nothing is removed by mistake.
    pub fn valid_attachments(&self) -> Result<ValidAttachments, CniError> {
        self.get(&["cni.dev/valid-attachments"])?
            .ok_or_else(|| CniError::invalid_config("`cni.dev/valid-attachments` is missing"))
    }
}
