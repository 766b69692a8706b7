//! The configuration of `portmap`, with the reference plugin's keys.

use std::net::IpAddr;

use serde::Deserialize;

use super::backend::{Backend, Options};
use super::iptables::Publication;
use crate::firewall::{Mapping, TransportProtocol};
use crate::protocol::{CniError, Context, IpConfig};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortMapping {
    host_port: u16,
    container_port: u16,
    #[serde(default)]
    protocol: String,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

#[derive(Debug)]
pub(super) struct Config {
    pub(super) backend: Backend,
    /// The mappings, as they are configured.
    mappings: Vec<PortMapping>,
    /// Whether clients are masqueraded: the container's own subnet and the host itself.
    pub(super) masquerade: bool,
    /// Whether all are.
    pub(super) masquerade_all: bool,
}

impl Config {
    /// Reads and checks the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let config = &context.config;
        let mappings: Vec<PortMapping> = config.get(&["runtimeConfig", "portMappings"])?.unwrap_or_default();
        for mapping in &mappings {
            if mapping.host_port == 0 || mapping.container_port == 0 {
                let (host, container) = (mapping.host_port, mapping.container_port);
                return Err(CniError::invalid_config(format!("invalid port mapping {host} to {container}")));
            }
        }
        Ok(Self {
            backend: Backend::read(context)?,
            mappings,
            masquerade: config.get(&["snat"])?.unwrap_or(true),
            masquerade_all: config.get(&["masqAll"])?.unwrap_or_default(),
        })
    }

    /// Whether no port is to be published.
    pub(super) fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// What iptables gets.
    pub(super) fn publication<'a>(
        &self,
        options: &'a Options,
        mappings: &'a [Mapping],
        addresses: &'a [&'a IpConfig],
    ) -> Publication<'a> {
        let (masquerade, masquerade_all) = (self.masquerade, self.masquerade_all);
        Publication { options, mappings, addresses, masquerade, masquerade_all }
    }

    /// The mappings to the container's addresses, for each family that they are meant for.
    pub(super) fn resolve(&self, addresses: &[IpAddr]) -> Result<Vec<Mapping>, CniError> {
        let mut resolved = Vec::new();
        for mapping in &self.mappings {
            let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
                "" | "tcp" => TransportProtocol::Tcp,
                "udp" => TransportProtocol::Udp,
                "sctp" => TransportProtocol::Sctp,
                other => {
                    let message = format!("unknown port protocol `{}`", other.escape_default());
                    return Err(CniError::invalid_config(message));
                }
            };
            let host_address: Option<IpAddr> = match mapping.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    CniError::invalid_config(format!("`hostIP` `{}` is no address", text.escape_default()))
                })?),
            };
            for target in addresses {
                if host_address.is_some_and(|address| address.is_ipv4() != target.is_ipv4()) {
                    continue;
                }
                resolved.push(Mapping {
                    host_address: host_address.filter(|address| !address.is_unspecified()),
                    host_port: mapping.host_port,
                    protocol,
                    target: *target,
                    target_port: mapping.container_port,
                });
            }
        }
        resolved.sort_unstable();
        resolved.dedup();
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let mappings = serde_json::from_str(text).expect("valid JSON");
        Config { backend: Backend::Nftables, mappings, masquerade: true, masquerade_all: false }
    }

    #[test]
    fn mappings_are_resolved_for_the_families_that_they_are_meant_for() {
        let both: Vec<IpAddr> = ["10.0.0.2", "fd00::2"].map(|text| text.parse().expect("valid")).to_vec();
        let shown = |text: &str| -> Vec<String> {
            let resolved = config(text).resolve(&both).expect("valid");
            resolved
                .iter()
                .map(|mapping| format!("{mapping} {}:{}", mapping.target, mapping.target_port))
                .collect()
        };
        let all =
            r#"[{"hostPort":80,"containerPort":8080,"protocol":"tcp"},{"hostPort":80,"containerPort":8080}]"#;
        assert_eq!(shown(all), ["80/tcp 10.0.0.2:8080", "80/tcp fd00::2:8080"]);
        let four = r#"[{"hostPort":53,"containerPort":53,"protocol":"UDP","hostIP":"127.0.0.1"}]"#;
        assert_eq!(shown(four), ["53/udp of 127.0.0.1 10.0.0.2:53"]);
        let any6 = r#"[{"hostPort":53,"containerPort":53,"protocol":"udp","hostIP":"::"}]"#;
        assert_eq!(shown(any6), ["53/udp fd00::2:53"]);
        for bad in [
            r#"[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]"#,
            r#"[{"hostPort":1,"containerPort":1,"hostIP":"x"}]"#,
        ] {
            assert!(config(bad).resolve(&both).is_err(), "{bad}");
        }
    }
}
