//! Configuration lists (CNI SPEC.md, section 1; the loading rules of libcni).

mod directory;
mod keys;

use std::io;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use loam_cni::CniError;
use loam_cni::protocol::{Version, check_network_name, check_plugin_type};
use serde_json::{Map, Value};

use crate::container_subnets;
use crate::external::Networker;

pub(crate) use directory::{Loaded, all, find, load};

/// The largest configuration that is read.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// The key of a list under which Loam notes what the specification has no key for: `internal` and `labels`, `cloudFoundry`,
/// `subnetPerContainer` and `containerSubnet`.
pub(crate) const OWN_KEY: &str = "loam";

/// One plugin's configuration.
pub type PluginObject = Map<String, Value>;

/// Why a network's configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConflistError {
    /// The directory or a file can't be read.
    #[error("reading `{0}` failed")]
    Read(PathBuf, #[source] io::Error),
    /// A file is too long.
    #[error("`{0}` is longer than {MAX_BYTES} bytes")]
    TooLong(PathBuf),
    /// It is a pipe, a device or a directory.
    #[error("`{0}` is not a regular file")]
    NotAFile(PathBuf),
    /// The text is no configuration list.
    #[error("the configuration list is not valid: {0}")]
    Invalid(String),
    /// A name, type or version is not valid.
    #[error("the configuration list is not valid")]
    Protocol(#[source] CniError),
    /// A plugin in the network's folder is not valid.
    #[error("plugin `{0}` can't be used")]
    DropIn(PathBuf, #[source] Box<ConflistError>),
    /// Another file has the name already.
    #[error("network `{0}` is described by `{1}` already")]
    Twice(String, PathBuf),
}

fn invalid(what: impl Into<String>) -> ConflistError {
    ConflistError::Invalid(what.into())
}

/// A network's configuration.
#[derive(Clone, Debug)]
pub struct NetworkList {
    /// The network's name.
    pub name: String,
    /// The version of the specification that the plugins are called with.
    pub version: Version,
    /// All versions that it may be called with and that we know, the newest first.
    pub versions: Vec<Version>,
    /// The plugins' configurations, in order.
    pub plugins: Vec<PluginObject>,
    /// Whether CHECK is to be left out.
    pub disable_check: bool,
    /// Whether GC is to be left out.
    pub disable_gc: bool,
    /// Whether it was made to lead nowhere: there is nobody at the gateway's address.
    pub(crate) internal: bool,
    /// Whether plugins are told what those that are made for Cloud Foundry want to be told.
    pub(crate) cloud_foundry: bool,
    /// Who attaches containers in the place of plugins.
    pub(crate) networker: Option<Networker>,
    /// Where the subnets are from, when each container has one of its own.
    pub(crate) pool: Option<Ipv4Net>,
    /// The whole text, as it goes into the cache: reading it again gives the same list, whatever lies in folders then.
    pub text: String,
}

impl NetworkList {
    /// Reads a list from its text alone.
    pub fn parse(text: String) -> Result<Self, ConflistError> {
        Self::parse_with(text, |_| Ok(Vec::new()))
    }

    /// Reads a list from its text, with the plugins that `drop_ins` gives for the network's name.
    pub(crate) fn parse_with(
        text: String,
        drop_ins: impl FnOnce(&str) -> Result<Vec<PluginObject>, ConflistError>,
    ) -> Result<Self, ConflistError> {
        let object = object(&text)?;
        let name = keys::text(&object, "name")?.to_owned();
        check_network_name(&name).map_err(ConflistError::Protocol)?;
        let versions = keys::versions(&object)?;
        let version = *versions.first().ok_or_else(|| invalid("none of its versions is supported"))?;
        let mut plugins = match object.get("plugins") {
            None => Vec::new(),
            Some(Value::Array(plugins)) if plugins.is_empty() => return Err(invalid("it has no plugins")),
            Some(Value::Array(plugins)) => plugins.iter().map(plugin).collect::<Result<Vec<_>, _>>()?,
            Some(_) => return Err(invalid("`plugins` is not a list")),
        };
        let mut added = Vec::new();
        if !keys::flag(&object, "loadOnlyInlinedPlugins")? {
            added = drop_ins(&name)?;
        }
        let grown = !added.is_empty();
        plugins.append(&mut added);
        if plugins.is_empty() {
            return Err(invalid("it has no plugins"));
        }
        let disable_check = keys::flag(&object, "disableCheck")?;
        let disable_gc = keys::flag(&object, "disableGC")?;
        let internal = object.get(OWN_KEY).and_then(|own| own.get("internal")).and_then(Value::as_bool);
        let internal = internal == Some(true);
        let none = Map::new();
        let own = object.get(OWN_KEY).and_then(Value::as_object).unwrap_or(&none);
        let cloud_foundry = keys::flag(own, "cloudFoundry")?;
        let networker = Networker::of(&plugins).map_err(invalid)?;
        let (pool, is_pattern) = (None, keys::flag(own, container_subnets::PATTERN)?);
        let mut list = Self {
            name,
            version,
            versions,
            plugins,
            disable_check,
            disable_gc,
            internal,
            cloud_foundry,
            networker,
            pool,
            text,
        };
        if is_pattern {
            list.pool = Some(container_subnets::pool(&list).map_err(invalid)?);
        }
        if grown {
            list.write_text()?;
        }
        Ok(list)
    }

    /// Makes a list of one from the text of a single plugin's configuration, as versions before 0.3.0 had it.
    pub fn parse_single(text: &str) -> Result<Self, ConflistError> {
        let object = object(text)?;
        if object.contains_key("plugins") {
            return Err(invalid("it is a list, whose file must end in .conflist"));
        }
        let name = keys::text(&object, "name")?.to_owned();
        check_network_name(&name).map_err(ConflistError::Protocol)?;
        let version = keys::text(&object, "cniVersion")?.to_owned();
        let list = serde_json::json!({
            "name": name, "cniVersion": version, "plugins": [plugin(&Value::Object(object))?],
        });
        Self::parse(list.to_string())
    }

    /// Whether one of its plugins has a capability.
    pub fn has_capability(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| has_capability(plugin, capability))
    }

    /// The capabilities of all its plugins, sorted.
    pub(crate) fn capabilities(&self) -> Vec<String> {
        let all = self.plugins.iter().filter_map(|plugin| plugin.get("capabilities")?.as_object());
        let mut names: Vec<String> = all
            .flatten()
            .filter(|(_, on)| on.as_bool() == Some(true))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The subnets in it, in order.
    pub(crate) fn subnets(&self) -> Vec<IpNet> {
        let mut found = Vec::new();
        self.plugins.iter().for_each(|plugin| crate::subnets::collect(plugin.values(), &mut found));
        found
    }

    /// What it is about on the host: the bridge of `bridge`, the parent of others.
    pub(crate) fn host_interface(&self) -> Option<&str> {
        let first = self.plugins.first()?;
        let text = |key: &str| first.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
        match kind(first) {
            // Each container has its own.
            "bridge" if self.pool.is_some() => None,
            "bridge" => text("bridge").or(Some("cni0")),
            _ => text("master"),
        }
    }

    /// The whole configuration.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Writes the text anew after the plugins were changed.
    pub(crate) fn write_text(&mut self) -> Result<(), ConflistError> {
        let mut object = object(&self.text)?;
        object.insert("plugins".into(), self.plugins.iter().cloned().map(Value::Object).collect());
        self.text = Value::Object(object).to_string();
        Ok(())
    }
}

fn object(text: &str) -> Result<Map<String, Value>, ConflistError> {
    match serde_json::from_str(text).map_err(|cause| invalid(cause.to_string()))? {
        Value::Object(object) => Ok(object),
        _ => Err(invalid("it is not a JSON object")),
    }
}

/// Checks one plugin's configuration.
fn plugin(value: &Value) -> Result<PluginObject, ConflistError> {
    let plugin = value.as_object().ok_or_else(|| invalid("a plugin is not a JSON object"))?;
    check_plugin_type(kind(plugin)).map_err(ConflistError::Protocol)?;
    Ok(plugin.clone())
}

/// The type of a plugin's configuration.
pub fn kind(plugin: &PluginObject) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a plugin has a capability.
pub fn has_capability(plugin: &PluginObject, capability: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(capability)).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests;
