//! The `portmap` plugin: publishes ports of a container on the host.
//!
//! Each mapping is one element of a map in the table of [`crate::firewall`], for IPv4 and for IPv6. The kernel refuses
//! a port that is taken. The host's own loopback reaches published ports too: the link that leads to the container
//! gets `route_localnet`, and the firewall drops what comes in over that link for 127.0.0.0/8.
//!
//! With `"backend": "iptables"`, and with keys that only iptables knows, ports are published by chains of iptables, as
//! the reference plugin makes them; with `none` they are noted for the administrator.

mod backend;
mod iptables;

use std::net::IpAddr;

use serde::Deserialize;

use crate::conntrack::Forget;
use crate::firewall::{Firewall, FirewallError, Mapping, Owner, PortsRecord, TransportProtocol};
use crate::netlink::RouteSocket;
use crate::nftables::NftablesError;
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, IpConfig, Version, code};
use crate::sysctl;
use crate::unmanaged;
use backend::Backend;
use iptables::Publication;

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "portmap", role: Role::Chained, oldest: Version::V0_1_0, add, del, check, gc, status };

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
struct Config {
    backend: Backend,
    mappings: Vec<PortMapping>,
    masquerade: bool,
    masquerade_all: bool,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
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

    /// What iptables gets.
    fn publication<'a>(
        &self,
        options: &'a backend::Options,
        mappings: &'a [Mapping],
        addresses: &'a [&'a IpConfig],
    ) -> Publication<'a> {
        let (masquerade, masquerade_all) = (self.masquerade, self.masquerade_all);
        Publication { options, mappings, addresses, masquerade, masquerade_all }
    }

    /// The mappings to the container's addresses, for each family that they are meant for.
    fn resolve(&self, addresses: &[IpAddr]) -> Result<Vec<Mapping>, CniError> {
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

/// What [`unmanaged`] calls it.
const WHAT: &str = "ports";

/// The first IPv4 and the first IPv6 address of the container.
fn container_addresses<'a>(result: &'a CniResult, interface: &'a str) -> Vec<&'a IpConfig> {
    let of_family =
        |four: bool| result.addresses_of(interface).find(|ip| ip.address.addr().is_ipv4() == four);
    [of_family(true), of_family(false)].into_iter().flatten().collect()
}

fn refused(cause: FirewallError) -> CniError {
    match &cause {
        FirewallError::PortTaken { .. } => CniError::new(code::PORT_TAKEN, cause.to_string()),
        FirewallError::Change(NftablesError::Unsupported(_))
        | FirewallError::Read(NftablesError::Unsupported(_)) => {
            CniError::new(code::UNSUPPORTED_KERNEL, "publishing ports failed").because(&cause)
        }
        _ => CniError::internal("publishing ports failed", &cause),
    }
}

fn owner<'a>(context: &'a Context<'_>) -> Owner<'a> {
    Owner { container: &context.container_id, interface: &context.interface }
}

fn open(context: &Context<'_>) -> Result<Firewall, CniError> {
    Firewall::open(context.host).map_err(refused)
}

/// Publishes the ports.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?.clone();
    if config.mappings.is_empty() {
        return Ok(previous);
    }
    let addresses = container_addresses(&previous, &context.interface);
    let targets: Vec<IpAddr> = addresses.iter().map(|ip| ip.address.addr()).collect();
    let mappings = config.resolve(&targets)?;
    if mappings.is_empty() {
        return Ok(previous);
    }
    let bridge = if config.masquerade { link_towards(targets[0])? } else { None };
    let mut firewall = open(context)?;
    match &config.backend {
        Backend::Nftables => {
            let mut record = PortsRecord { network: context.config.name.clone(), ..PortsRecord::default() };
            record.mappings.clone_from(&mappings);
            if config.masquerade {
                record.hairpin = addresses.iter().map(|ip| ip.address.trunc()).collect();
                record.masquerade_all = config.masquerade_all;
                record.bridge.clone_from(&bridge);
            }
            firewall.publish(&owner(context), &record).map_err(refused)?;
        }
        Backend::Iptables(options) => {
            let publication = config.publication(options, &mappings, &addresses);
            if let Err(error) = publication.publish(context) {
                // The error that is told is the one that led here.
                drop(iptables::withdraw(context));
                return Err(error);
            }
        }
        Backend::Unmanaged => {
            let rules: Vec<String> = mappings.iter().map(rule).collect();
            unmanaged::note(context, WHAT, &rules)?;
            return Ok(previous);
        }
    }
    if let Some(bridge) = bridge.filter(|_| targets[0].is_ipv4()) {
        sysctl::ensure(&format!("ipv4/conf/{bridge}/route_localnet"), "1").map_err(|cause| {
            CniError::io(format!("opening `{bridge}` to the host's loopback failed"), &cause)
        })?;
    }
    forget_flows(&mut firewall, &mappings, |mapping| {
        (mapping.protocol == TransportProtocol::Udp).then_some(Forget::Port(
            mapping.protocol.number(),
            mapping.host_port,
            mapping.target.is_ipv4(),
        ))
    })?;
    Ok(previous)
}

/// What would be set for a port, in nft's language.
fn rule(mapping: &Mapping) -> String {
    let (family, open, close) = if mapping.target.is_ipv4() { ("ip", "", "") } else { ("ip6", "[", "]") };
    let to = mapping
        .host_address
        .map_or_else(|| "fib daddr type local".to_owned(), |address| format!("{family} daddr {address}"));
    let (protocol, port) = (mapping.protocol.as_str(), mapping.host_port);
    let (target, target_port) = (mapping.target, mapping.target_port);
    format!("{to} {protocol} dport {port} dnat {family} to {open}{target}{close}:{target_port}")
}

/// The link that leads to the container.
fn link_towards(address: IpAddr) -> Result<Option<String>, CniError> {
    let mut socket =
        RouteSocket::open().map_err(|cause| CniError::internal("opening a socket failed", &cause))?;
    let found = socket.link_towards(address).and_then(|index| match index {
        Some(index) => socket.link_by_index(index),
        None => Ok(None),
    });
    let link = found
        .map_err(|cause| CniError::internal(format!("looking up the way to `{address}` failed"), &cause))?;
    Ok(link.map(|link| link.name))
}

/// Has the kernel forget flows that would go on the old way. Each is asked for once.
fn forget_flows(
    firewall: &mut Firewall,
    mappings: &[Mapping],
    which: impl Fn(&Mapping) -> Option<Forget>,
) -> Result<(), CniError> {
    let mut wanted: Vec<Forget> = mappings.iter().filter_map(which).collect();
    wanted.sort_unstable();
    wanted.dedup();
    firewall.forget_flows(&wanted).map_err(|cause| CniError::internal("forgetting old flows failed", &cause))
}

/// Withdraws the ports.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let given = match &context.config.previous {
        Some(previous) => {
            let addresses = container_addresses(previous, &context.interface);
            let targets: Vec<IpAddr> = addresses.iter().map(|ip| ip.address.addr()).collect();
            config.resolve(&targets)?
        }
        None => Vec::new(),
    };
    if matches!(config.backend, Backend::Iptables(_)) {
        iptables::withdraw(context)?;
    }
    unmanaged::forget(context, WHAT)?;
    let mut firewall = open(context)?;
    let withdrawn = firewall.withdraw(&owner(context), &given).map_err(refused)?;
    forget_flows(&mut firewall, &withdrawn, |mapping| Some(Forget::Target(mapping.target)))
}

/// Verifies that the ports are published.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?;
    if config.mappings.is_empty() {
        return Ok(());
    }
    let addresses = container_addresses(previous, &context.interface);
    let targets: Vec<IpAddr> = addresses.iter().map(|ip| ip.address.addr()).collect();
    let mappings = config.resolve(&targets)?;
    let published = match &config.backend {
        Backend::Nftables => open(context)?.is_published(&owner(context), &mappings).map_err(refused)?,
        Backend::Iptables(options) => {
            config.publication(options, &mappings, &addresses).is_published(context)?
        }
        Backend::Unmanaged => unmanaged::is_noted(context, WHAT),
    };
    if published {
        return Ok(());
    }
    Err(CniError::new(
        code::INTERNAL,
        format!("ports of container {} are not published", context.container_id),
    ))
}

/// Withdraws the ports of all attachments of the network that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let valid = context.config.valid_attachments()?;
    let mut firewall = open(context)?;
    for (container, interface) in firewall.published(&context.config.name).map_err(refused)? {
        if !valid.iter().any(|known| known.container_id == container && known.ifname == interface) {
            let owner = Owner { container: &container, interface: &interface };
            let withdrawn = firewall.withdraw(&owner, &[]).map_err(refused)?;
            forget_flows(&mut firewall, &withdrawn, |mapping| Some(Forget::Target(mapping.target)))?;
        }
    }
    iptables::collect(context, &valid)?;
    unmanaged::collect(context, WHAT)
}

/// Verifies the configuration, and that the kernel has nf_tables.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context)?;
    let unavailable =
        |cause: FirewallError| CniError::new(code::UNAVAILABLE, "nf_tables can't be used").because(&cause);
    Firewall::open(context.host).and_then(|mut firewall| firewall.probe()).map_err(unavailable)
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
