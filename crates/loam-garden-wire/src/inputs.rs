//! What a networker is given.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::or_nothing;
use crate::port::NetIn;
use crate::rule::NetOutRule;

/// What `up` gets. Rules that are passed on as they came are values.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct UpInputs<R = NetOutRule> {
    /// The host's id of the container's first process.
    #[serde(rename = "Pid")]
    pub pid: u32,
    /// The container's properties that are the network's.
    #[serde(default, deserialize_with = "or_nothing", rename = "Properties")]
    pub properties: Map<String, Value>,
    /// The rules.
    #[serde(default, deserialize_with = "or_nothing", skip_serializing_if = "Vec::is_empty")]
    pub netout_rules: Vec<R>,
    /// The ports.
    #[serde(default, deserialize_with = "or_nothing", skip_serializing_if = "Vec::is_empty")]
    pub netin: Vec<NetIn>,
}

/// What `net-in` gets. The addresses, of which Guardian may know none, are written and not read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct NetInInputs {
    /// The host's address to listen at.
    #[serde(rename = "HostIP", skip_deserializing)]
    pub host_ip: Option<IpAddr>,
    /// The host's port; 0 is the networker's to choose.
    #[serde(default, rename = "HostPort")]
    pub host_port: u16,
    /// The container's address.
    #[serde(rename = "ContainerIP", skip_deserializing)]
    pub container_ip: Option<IpAddr>,
    /// The container's port; 0 is the host port's number.
    #[serde(default, rename = "ContainerPort")]
    pub container_port: u16,
}

/// What `net-out` gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetOutInputs {
    /// The container's address, which is written and not read.
    #[serde(skip_deserializing)]
    pub container_ip: Option<IpAddr>,
    /// The rule.
    #[serde(default)]
    pub netout_rule: NetOutRule,
}

/// What `bulk-net-out` gets. Rules that are passed on as they came are values.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct BulkNetOutInputs<R = NetOutRule> {
    /// The container's address, which is written and not read.
    #[serde(skip_deserializing)]
    pub container_ip: Option<IpAddr>,
    /// The rules.
    #[serde(default, deserialize_with = "or_nothing")]
    pub netout_rules: Vec<R>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_what_guardian_writes_and_is_read_as_that() {
        let inputs = UpInputs {
            pid: 7,
            properties: Map::from_iter([("app_id".to_owned(), json!("x"))]),
            netout_rules: vec![NetOutRule { protocol: 1, ..NetOutRule::default() }],
            netin: vec![NetIn { host_port: 0, container_port: 80 }],
        };
        let written = serde_json::to_value(&inputs).expect("JSON");
        let expected = json!({"Pid": 7, "Properties": {"app_id": "x"}, "netout_rules": [{"protocol": 1}],
            "netin": [{"host_port": 0, "container_port": 80}]});
        assert_eq!(written, expected);
        let read: UpInputs = serde_json::from_value(written).expect("its own");
        assert_eq!((read.netout_rules, read.netin), (inputs.netout_rules, inputs.netin));
        for bare in
            [json!({"Pid": 7}), json!({"Pid": 7, "Properties": null, "netout_rules": null, "netin": null})]
        {
            let read: UpInputs = serde_json::from_value(bare).expect("bare");
            assert_eq!(serde_json::to_value(read).expect("JSON"), json!({"Pid": 7, "Properties": {}}));
        }
        let call = json!({"HostIP": "x", "HostPort": 1, "ContainerIP": "", "ContainerPort": 2});
        let read: NetInInputs = serde_json::from_value(call).expect("whatever the addresses are");
        assert_eq!((read.host_port, read.container_port, read.host_ip), (1, 2, None));
    }
}
