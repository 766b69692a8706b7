//! Configuration lists (CNI SPEC.md, section 1), and those that are measured when nobody names one.

use loam_cni::CniError;
use loam_cni::protocol::{Version, check_network_name, check_plugin_type};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Why a text is no configuration list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is not JSON.
    #[error("it is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// It is something else than a configuration.
    #[error("{0}")]
    Shape(&'static str),
    /// A name, type or version is not valid.
    #[error("it is not valid")]
    Protocol(#[source] CniError),
}

/// A configuration list that is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkList {
    /// The network's name.
    pub name: String,
    /// The versions that it may be called with, the newest first.
    versions: Vec<String>,
    /// The plugins' configurations, in order.
    pub(crate) plugins: Vec<Map<String, Value>>,
}

impl NetworkList {
    /// Reads a list, or the configuration of a single plugin as a list of one.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let value: Value = serde_json::from_str(text).map_err(ListError::Json)?;
        let object = value.as_object().ok_or(ListError::Shape("it is not a JSON object"))?;
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        check_network_name(&name).map_err(ListError::Protocol)?;
        let plugins = match object.get("plugins") {
            None if object.contains_key("type") => vec![value.clone()],
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins.clone(),
            _ => return Err(ListError::Shape("it has no plugins")),
        };
        let mut read = Vec::new();
        for plugin in plugins {
            let Value::Object(plugin) = plugin else {
                return Err(ListError::Shape("a plugin is not a JSON object"));
            };
            check_plugin_type(kind(&plugin)).map_err(ListError::Protocol)?;
            read.push(plugin);
        }
        Ok(Self { name, versions: versions(object)?, plugins: read })
    }

    /// The lists that are measured when nobody names one: a bridge with addresses; the same with masquerading and a
    /// published port; and a chain of what an orchestrator's default network has.
    pub fn defaults() -> Vec<Self> {
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true });
        // As much as a tbf of the reference plugin takes: what is measured is the plugin, not the limit.
        let (rate, burst) = (10_000_000_000_u64, 200_000_000_u64);
        let bandwidth = json!({
            "type": "bandwidth", "ingressRate": rate, "ingressBurst": burst, "egressRate": rate,
            "egressBurst": burst,
        });
        let firewall = json!({ "type": "firewall" });
        vec![
            default_list("bridge", vec![bridge(1, false)]),
            default_list("ports", vec![bridge(2, true), portmap.clone()]),
            default_list("chain", vec![bridge(3, true), portmap, bandwidth, firewall]),
        ]
    }

    /// The versions that it may be called with, the newest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        self.versions.iter().filter_map(|text| Version::parse(text).ok())
    }

    /// The types of its plugins, in order.
    pub fn kinds(&self) -> Vec<String> {
        self.plugins.iter().map(|plugin| kind(plugin).to_owned()).collect()
    }
}

/// `number` tells the networks of the defaults apart.
fn bridge(number: u8, masquerade: bool) -> Value {
    json!({
        "type": "bridge", "bridge": format!("bench{number}"), "isGateway": true, "ipMasq": masquerade,
        "ipam": {
            "type": "host-local", "routes": [{ "dst": "0.0.0.0/0" }],
            "ranges": [[{ "subnet": format!("10.23{number}.0.0/20") }]],
        },
    })
}

fn default_list(name: &str, plugins: Vec<Value>) -> NetworkList {
    NetworkList {
        name: name.to_owned(),
        versions: ["1.1.0", "1.0.0"].map(str::to_owned).to_vec(),
        plugins: plugins.into_iter().filter_map(|plugin| plugin.as_object().cloned()).collect(),
    }
}

/// The type of a plugin's configuration.
pub(crate) fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The versions of `cniVersions` and `cniVersion` that we know, the newest first.
fn versions(object: &Map<String, Value>) -> Result<Vec<String>, ListError> {
    let single = object.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
    let Some(several) = object.get("cniVersions").and_then(Value::as_array) else {
        let version = Version::parse(single).map_err(ListError::Protocol)?;
        return Ok(vec![version.as_str().to_owned()]);
    };
    let texts = several.iter().filter_map(Value::as_str).chain(Some(single).filter(|text| !text.is_empty()));
    let mut known: Vec<Version> = texts.filter_map(|text| Version::parse(text).ok()).collect();
    known.sort_unstable_by(|one, other| other.cmp(one));
    known.dedup();
    if known.is_empty() {
        return Err(ListError::Shape("none of its versions is supported"));
    }
    Ok(known.into_iter().map(|version| version.as_str().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_single_configurations_are_read() {
        let list = NetworkList::parse(
            r#"{"name":"n","cniVersion":"0.4.0","cniVersions":["1.0.0","9.0.0","0.4.0"],
                "plugins":[{"type":"bridge"},{"type":"portmap"}]}"#,
        );
        let list = list.expect("valid");
        assert_eq!(list.kinds(), ["bridge", "portmap"]);
        assert_eq!(list.versions().collect::<Vec<_>>(), [Version::V1_0_0, Version::V0_4_0]);
        let single = NetworkList::parse(r#"{"name":"n","cniVersion":"1.0.0","type":"ptp"}"#).expect("valid");
        assert_eq!(single.kinds(), ["ptp"]);
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_reason() {
        for (text, reason) in [
            ("{", "it is not valid JSON"),
            ("[]", "it is not a JSON object"),
            (r#"{"name":"n","plugins":[]}"#, "it has no plugins"),
            (r#"{"name":"n"}"#, "it has no plugins"),
            (r#"{"name":"n","plugins":[3]}"#, "a plugin is not a JSON object"),
            (r#"{"name":"n","cniVersions":["7.0.0"],"type":"x"}"#, "none of its versions is supported"),
            (r#"{"name":"../n","type":"x"}"#, "it is not valid"),
            (r#"{"name":"n","type":"../x"}"#, "it is not valid"),
            (r#"{"name":"n","type":"x","cniVersion":"7.0.0"}"#, "it is not valid"),
        ] {
            assert_eq!(NetworkList::parse(text).expect_err(text).to_string(), reason, "{text}");
        }
    }

    #[test]
    fn the_defaults_are_a_bridge_with_a_port_and_with_a_chain() {
        let kinds: Vec<_> = NetworkList::defaults().iter().map(NetworkList::kinds).collect();
        assert_eq!(kinds[0], ["bridge"]);
        assert_eq!(kinds[1], ["bridge", "portmap"]);
        assert_eq!(kinds[2], ["bridge", "portmap", "bandwidth", "firewall"]);
    }
}
