//! The `portmap` plugin: publishes ports of a container on the host.
//!
//! Each mapping is one element of a map in the table of [`crate::firewall`], for IPv4 and for IPv6. The kernel refuses
//! a port that is taken. The host's own loopback reaches published ports too: the link that leads to the container
//! gets `route_localnet`, and the firewall drops what comes in over that link for 127.0.0.0/8.
//!
//! With `"backend": "iptables"`, and with keys that only iptables knows, ports are published by chains of iptables, as
//! the reference plugin makes them; with `none` they are noted for the administrator.

mod backend;
mod config;
mod iptables;
mod way;

use std::net::IpAddr;

use crate::conntrack::Forget;
use crate::firewall::{Firewall, FirewallError, Mapping, PortsRecord, TransportProtocol};
use crate::nftables::NftablesError;
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, IpConfig, Owner, Version, code};
use crate::unmanaged;
use backend::Backend;
use config::Config;
use way::Way;

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "portmap", role: Role::Chained, oldest: Version::V0_1_0, add, del, check, gc, status };

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

fn open(context: &Context<'_>) -> Result<Firewall, CniError> {
    Firewall::open(context.host).map_err(refused)
}

/// Publishes the ports. When that fails, everything is as it was: what an earlier ADD has published stays.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?.clone();
    let addresses = container_addresses(&previous, &context.interface);
    let targets: Vec<IpAddr> = addresses.iter().map(|ip| ip.address.addr()).collect();
    let mappings = config.resolve(&targets)?;
    if mappings.is_empty() {
        return Ok(previous);
    }
    let way = if config.masquerade { Way::towards(targets[0])? } else { None };
    let mut firewall = open(context)?;
    let known =
        firewall.has_published(&context.owner()).map_err(refused)? || iptables::has_published(context)?;
    match &config.backend {
        Backend::Nftables => {
            let record = record(context, &config, &mappings, &addresses, way.as_ref());
            firewall.publish(&context.owner(), &record).map_err(refused)?;
        }
        Backend::Iptables(options) => config.publication(options, &mappings, &addresses).publish(context)?,
        Backend::Unmanaged => {
            let rules: Vec<String> = mappings.iter().map(rule).collect();
            unmanaged::note(context, WHAT, &rules)?;
            return Ok(previous);
        }
    }
    let way = way.as_ref().filter(|_| targets[0].is_ipv4());
    let opened = way.map_or(Ok(()), Way::open_to_loopback).and_then(|()| {
        let is_udp = |mapping: &&Mapping| mapping.protocol == TransportProtocol::Udp;
        let udp = mappings.iter().filter(is_udp);
        forget_flows(
            &mut firewall,
            udp.map(|udp| Forget::Port(udp.protocol.number(), udp.host_port, udp.target.is_ipv4())),
        )
    });
    if opened.is_err() && !known {
        // The error that is told is the one that led here.
        drop(withdraw(context, &config, &mut firewall, &mappings));
    }
    opened.map(|()| previous.clone())
}

/// Leaves an attachment those ports alone that the configuration has, and takes back all others: the undoing of an ADD for
/// an attachment that had ports before. No verb of the specification does that.
pub fn narrow(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?;
    let addresses = container_addresses(previous, &context.interface);
    let targets: Vec<IpAddr> = addresses.iter().map(|ip| ip.address.addr()).collect();
    let kept = config.resolve(&targets)?;
    let mut firewall = open(context)?;
    let gone = firewall.narrow(&context.owner(), &kept).map_err(refused)?;
    let redirected = |gone: &Mapping| Forget::Redirected(gone.protocol.number(), gone.host_port, gone.target);
    forget_flows(&mut firewall, gone.iter().map(redirected))?;
    match &config.backend {
        Backend::Nftables => Ok(()),
        Backend::Iptables(options) => config.publication(options, &kept, &addresses).narrow(context),
        Backend::Unmanaged if kept.is_empty() => unmanaged::forget(context, WHAT),
        Backend::Unmanaged => {
            let rules: Vec<String> = kept.iter().map(rule).collect();
            unmanaged::note(context, WHAT, &rules)
        }
    }
}

/// What the firewall keeps for the attachment.
fn record(
    context: &Context<'_>,
    config: &Config,
    mappings: &[Mapping],
    addresses: &[&IpConfig],
    way: Option<&Way>,
) -> PortsRecord {
    let mut record = PortsRecord { network: context.config.name.clone(), ..PortsRecord::default() };
    record.mappings = mappings.to_vec();
    if config.masquerade {
        record.hairpin = addresses.iter().map(|ip| ip.address.trunc()).collect();
        record.masquerade_all = config.masquerade_all;
        record.bridge = way.map(|way| way.link.clone());
        record.own_link = way.is_some_and(|way| way.own);
    }
    record
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

/// Has the kernel forget flows that would go on the old way. Each is asked for once.
fn forget_flows(firewall: &mut Firewall, flows: impl Iterator<Item = Forget>) -> Result<(), CniError> {
    let mut wanted: Vec<Forget> = flows.collect();
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
    unmanaged::forget(context, WHAT)?;
    withdraw(context, &config, &mut open(context)?, &given)
}

/// Withdraws the ports of an attachment: those that are known, and those given.
fn withdraw(
    context: &Context<'_>,
    config: &Config,
    firewall: &mut Firewall,
    given: &[Mapping],
) -> Result<(), CniError> {
    if matches!(config.backend, Backend::Iptables(_)) {
        iptables::withdraw(context)?;
    }
    withdraw_from_table(firewall, &context.owner(), given)
}

fn withdraw_from_table(
    firewall: &mut Firewall,
    owner: &Owner<'_>,
    given: &[Mapping],
) -> Result<(), CniError> {
    let withdrawn = firewall.withdraw(owner, given).map_err(refused)?;
    forget_flows(firewall, withdrawn.iter().map(|mapping| Forget::Target(mapping.target)))
}

/// Verifies that the ports are published.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?;
    if config.is_empty() {
        return Ok(());
    }
    let addresses = container_addresses(previous, &context.interface);
    let targets: Vec<IpAddr> = addresses.iter().map(|ip| ip.address.addr()).collect();
    let mappings = config.resolve(&targets)?;
    let published = match &config.backend {
        Backend::Nftables => open(context)?.is_published(&context.owner(), &mappings).map_err(refused)?,
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
    for known in firewall.published(&context.config.name).map_err(refused)? {
        if !valid.contains(&known.owner()) {
            withdraw_from_table(&mut firewall, &known.owner(), &[])?;
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
