//! The JSON values that go in and out (Guardian, `netplugin/external_networker.go`; Garden's `NetOutRule` and `NetIn`).

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::NetworkerError;

/// The longest input that is read. A thousand rules are a tenth of this.
const MAX_INPUT: u64 = 16 << 20;

/// What `up` gets.
#[derive(Debug, Deserialize)]
pub(crate) struct UpInputs {
    /// The host's id of the container's first process.
    #[serde(rename = "Pid")]
    pub(crate) pid: u32,
    /// The container's properties that are the network's.
    #[serde(default, rename = "Properties")]
    pub(crate) properties: Option<Map<String, Value>>,
    /// The rules.
    #[serde(default)]
    pub(crate) netout_rules: Option<Vec<NetOutRule>>,
    /// The ports.
    #[serde(default)]
    pub(crate) netin: Option<Vec<NetIn>>,
}

/// What `up` gives.
#[derive(Debug, Serialize)]
pub(crate) struct UpOutputs {
    pub(crate) properties: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_servers: Option<Vec<IpAddr>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) search_domains: Vec<String>,
}

/// A published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetIn {
    /// 0 takes one of the pool.
    #[serde(default)]
    pub(crate) host_port: u16,
    /// 0 takes the host port's number.
    #[serde(default)]
    pub(crate) container_port: u16,
}

/// A published port as the property `garden.network.mapped-ports` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MappedPort {
    pub(crate) host_port: u16,
    pub(crate) container_port: u16,
}

/// What `net-in` gets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetInInputs {
    #[serde(default)]
    pub(crate) host_port: u16,
    #[serde(default)]
    pub(crate) container_port: u16,
}

/// What `net-out` gets.
#[derive(Debug, Deserialize)]
pub(crate) struct NetOutInputs {
    #[serde(default)]
    pub(crate) netout_rule: NetOutRule,
}

/// What `bulk-net-out` gets.
#[derive(Debug, Deserialize)]
pub(crate) struct BulkNetOutInputs {
    #[serde(default)]
    pub(crate) netout_rules: Option<Vec<NetOutRule>>,
}

/// A rule that allows something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetOutRule {
    /// 0 all, 1 TCP, 2 UDP, 3 ICMP, 4 ICMPv6.
    #[serde(default)]
    pub(crate) protocol: u8,
    #[serde(default)]
    pub(crate) networks: Option<Vec<IpRange>>,
    #[serde(default)]
    pub(crate) ports: Option<Vec<Ports>>,
    #[serde(default)]
    pub(crate) icmps: Option<Icmps>,
    #[serde(default)]
    pub(crate) log: bool,
}

/// Addresses, both ends included; one end alone is one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IpRange {
    #[serde(default)]
    pub(crate) start: Option<IpAddr>,
    #[serde(default)]
    pub(crate) end: Option<IpAddr>,
}

/// Ports, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    #[serde(default)]
    pub(crate) start: u16,
    #[serde(default)]
    pub(crate) end: u16,
}

/// Messages of ICMP; a type of 0 is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Icmps {
    #[serde(default, rename = "type")]
    pub(crate) kind: u8,
    #[serde(default)]
    pub(crate) code: Option<u8>,
}

/// Reads an action's input.
pub(crate) fn read<T: DeserializeOwned>(
    action: &'static str,
    input: &mut dyn Read,
) -> Result<T, NetworkerError> {
    let mut bytes = Vec::new();
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(NetworkerError::Input)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(NetworkerError::TooLong(MAX_INPUT));
    }
    serde_json::from_slice(&bytes).map_err(|error| NetworkerError::Decode(action, error))
}
