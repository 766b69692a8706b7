//! Published ports. Garden publishes TCP alone.

use loam_model::{PortMapping, Protocol};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A port that is asked for (`garden.NetIn`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetIn {
    /// The host's; 0 is anybody's to choose.
    #[serde(default)]
    pub host_port: u16,
    /// The container's; 0 is the host port's number.
    #[serde(default)]
    pub container_port: u16,
}

impl NetIn {
    /// A port of the capability `portMappings` (CNI CONVENTIONS.md) in this form; `None` for one that is not TCP's.
    pub fn of_mapping(mapping: &Value) -> Option<Self> {
        let protocol = mapping.get("protocol").and_then(Value::as_str).unwrap_or("tcp");
        if !protocol.eq_ignore_ascii_case("tcp") {
            return None;
        }
        let number =
            |key: &str| mapping.get(key).and_then(Value::as_u64).and_then(|port| port.try_into().ok());
        Some(Self {
            host_port: number("hostPort").unwrap_or_default(),
            container_port: number("containerPort").unwrap_or_default(),
        })
    }

    /// All ports of the capability `portMappings` that there is this form for.
    pub fn of_mappings(mappings: Option<&Value>) -> Vec<Self> {
        mappings.and_then(Value::as_array).into_iter().flatten().filter_map(Self::of_mapping).collect()
    }

    /// As the model's, published at an address of the host's or at all.
    pub fn to_mapping(self, host_address: Option<std::net::IpAddr>) -> PortMapping {
        PortMapping {
            host_address,
            host_port: self.host_port,
            container_port: self.container_port,
            protocol: Protocol::Tcp,
        }
    }
}

/// A published port as the property [`crate::property::MAPPED_PORTS`] has it (`garden.PortMapping`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MappedPort {
    /// The host's.
    pub host_port: u16,
    /// The container's.
    pub container_port: u16,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_translated_and_those_of_udp_are_not_garden_s() {
        let mappings = json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp"},
            {"hostPort": 0, "containerPort": 7},
        ]);
        assert_eq!(
            serde_json::to_value(NetIn::of_mappings(Some(&mappings))).expect("JSON"),
            json!([{"host_port": 8080, "container_port": 80}, {"host_port": 0, "container_port": 7}])
        );
        assert!(NetIn::of_mappings(None).is_empty());
    }
}
