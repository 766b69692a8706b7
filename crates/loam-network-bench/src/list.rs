//! Configuration lists, and those that are measured when nobody names one.

use loam_cni::protocol::Version;
use loam_network::{ConflistError, NetworkList, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A configuration list that is measured. It goes to other processes as its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MeasuredList(pub(crate) NetworkList);

impl TryFrom<String> for MeasuredList {
    type Error = ConflistError;

    fn try_from(text: String) -> Result<Self, ConflistError> {
        NetworkList::parse(text).map(Self)
    }
}

impl From<MeasuredList> for String {
    fn from(list: MeasuredList) -> Self {
        list.0.text
    }
}

impl MeasuredList {
    /// Reads a list, or the configuration of a single plugin as a list of one.
    pub fn parse(text: &str) -> Result<Self, ConflistError> {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        match value.get("plugins").is_none() && value.get("type").is_some() {
            true => NetworkList::parse_single(text),
            false => NetworkList::parse(text.to_owned()),
        }
        .map(Self)
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.0.name
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
            default_list("bridge", &[bridge(1, false)]),
            default_list("ports", &[bridge(2, true), portmap.clone()]),
            default_list("chain", &[bridge(3, true), portmap, bandwidth, firewall]),
        ]
    }

    /// The versions that it may be called with, the newest first.
    pub(crate) fn versions(&self) -> &[Version] {
        &self.0.versions
    }

    /// The types of its plugins, in order.
    pub fn kinds(&self) -> Vec<String> {
        self.0.plugins.iter().map(|plugin| kind(plugin).to_owned()).collect()
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

fn default_list(name: &str, plugins: &[Value]) -> MeasuredList {
    let list = json!({ "name": name, "cniVersions": ["1.0.0", "1.1.0"], "plugins": plugins });
    MeasuredList::parse(&list.to_string()).expect("the lists of the defaults are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_single_configurations_are_read_and_travel_as_text() {
        let list = MeasuredList::parse(
            r#"{"name":"n","cniVersion":"0.4.0","cniVersions":["1.0.0","9.0.0","0.4.0"],
                "plugins":[{"type":"bridge"},{"type":"portmap"}]}"#,
        );
        let list = list.expect("valid");
        let sent = serde_json::to_string(&list).expect("a text");
        let list: MeasuredList = serde_json::from_str(&sent).expect("the same");
        assert_eq!(list.kinds(), ["bridge", "portmap"]);
        assert_eq!(list.versions(), [Version::V1_0_0, Version::V0_4_0]);
        let single = MeasuredList::parse(r#"{"name":"n","cniVersion":"1.0.0","type":"ptp"}"#).expect("valid");
        assert_eq!((single.name(), single.kinds()), ("n", vec!["ptp".to_owned()]));
        assert!(MeasuredList::parse("no JSON").is_err());
    }

    #[test]
    fn the_defaults_are_a_bridge_with_a_port_and_with_a_chain() {
        let kinds: Vec<_> = MeasuredList::defaults().iter().map(MeasuredList::kinds).collect();
        assert_eq!(kinds[0], ["bridge"]);
        assert_eq!(kinds[1], ["bridge", "portmap"]);
        assert_eq!(kinds[2], ["bridge", "portmap", "bandwidth", "firewall"]);
    }
}
