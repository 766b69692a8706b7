//! The `firewall` plugin: lets a container's traffic through on hosts that let through little, and keeps networks apart.
//!
//! Addresses are let through by one of the backends: elements in the table of [`crate::firewall`], chains of iptables
//! or a zone of firewalld, both as the reference plugin makes them, or nothing but a note for the administrator. Which
//! it was is kept with the firewall's records, so that DEL and GC undo it even when they are told nothing.
//!
//! The ingress policy is about the bridge of the network: `same-bridge` drops what comes from other bridges with a
//! policy, `isolated` also what comes from the same bridge. What stays within a bridge passes no firewall unless the
//! kernel is told to (`bridge-nf-call-iptables`); so that it is dropped all the same, the bridge's port is isolated.

mod backend;
mod elsewhere;
mod firewalld;
mod iptables;

use std::net::IpAddr;

use crate::firewall::{AdmissionRecord, Elsewhere, Firewall, FirewallError, Owner};
use crate::netlink::{Batch, PortSettings, RouteSocket};
use crate::plugins::kernel::{failed, run};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, Version, check_interface_name, code};
use crate::unmanaged;
use backend::{Backend, Config, Policy};
use elsewhere::{outdated, take_back, without};

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "firewall", role: Role::Chained, oldest: Version::V0_4_0, add, del, check, gc, status };

/// What [`unmanaged`] calls it.
const WHAT: &str = "firewall";

fn refused(cause: FirewallError) -> CniError {
    CniError::internal("letting the container's traffic through failed", &cause)
}

fn addresses(result: &CniResult) -> Vec<IpAddr> {
    result.ips.iter().map(|ip| ip.address.addr()).collect()
}

/// The bridge that a policy is about: the first interface of the result.
fn bridge(config: &Config, result: &CniResult) -> Result<Option<String>, CniError> {
    if config.policy == Policy::Open {
        return Ok(None);
    }
    let name = result.interfaces.first().map(|found| found.name.clone()).unwrap_or_default();
    if name.is_empty() {
        let message = "`ingressPolicy` needs a bridge: chain `firewall` after `bridge`";
        return Err(CniError::invalid_config(message));
    }
    check_interface_name(&name)?;
    Ok(Some(name))
}

/// What the firewall keeps for an attachment.
fn record(
    context: &Context<'_>,
    config: &Config,
    backend: Backend,
    result: &CniResult,
) -> Result<AdmissionRecord, CniError> {
    let bridge = bridge(config, result)?;
    let elsewhere = (backend != Backend::Nftables).then(|| Elsewhere {
        backend: backend.as_str().to_owned(),
        zone: config.zone.clone(),
        addresses: addresses(result),
    });
    let in_table = backend.guards_in_table();
    Ok(AdmissionRecord {
        network: context.config.name.clone(),
        addresses: if elsewhere.is_none() { addresses(result) } else { Vec::new() },
        bridge: bridge.filter(|_| in_table),
        within: config.policy == Policy::SameBridge,
        elsewhere,
        outdated: Vec::new(),
    })
}

/// Lets through.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?.clone();
    let backend = config.choose(context)?;
    let mut record = record(context, &config, backend, &previous)?;
    let addresses = addresses(&previous);
    let mut table = Firewall::open(context.host).map_err(refused)?;
    let before = table.admission(&context.owner()).map_err(refused)?;
    // It is found by DEL and GC until it is gone.
    record.outdated =
        before.as_ref().map(|before| outdated(before, record.elsewhere.as_ref())).unwrap_or_default();
    table.admit(&context.owner(), &record).map_err(refused)?;
    let set = match backend {
        Backend::Nftables => Ok(()),
        Backend::Iptables => iptables::add(context, &config, &addresses, bridge(&config, &previous)?),
        Backend::Firewalld => firewalld::add(&config.zone, &addresses),
        Backend::Unmanaged => unmanaged::note(context, WHAT, &rules(&config, &previous)?),
    };
    let set =
        set.and_then(|()| if config.policy == Policy::Isolated { isolate_port(&previous) } else { Ok(()) });
    if let Err(error) = set {
        // The error that is told is the one that led here.
        if let Some(before) = before {
            // What an earlier ADD let through is not this one's to take back, but what it did not.
            let own = record.elsewhere.as_ref().and_then(|own| without(own, before.elsewhere.as_ref()));
            drop(take_back(context, &own));
            drop(table.admit(&context.owner(), &before));
            return Err(error);
        }
        drop(withdraw(context, &mut table, &context.owner(), Some(&previous)));
        return Err(error);
    }
    if !record.outdated.is_empty() {
        take_back(context, &record.outdated)?;
        record.outdated.clear();
        table.admit(&context.owner(), &record).map_err(refused)?;
    }
    Ok(previous)
}

/// Isolates the port of the host's end, so that what stays within the bridge is dropped too.
fn isolate_port(result: &CniResult) -> Result<(), CniError> {
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let (mut batch, mut steps) = (Batch::new(), Vec::new());
    for end in result.interfaces.iter().skip(1).filter(|end| end.sandbox.is_empty()) {
        let link = socket.link(&end.name).map_err(failed(format!("looking up `{}`", end.name)))?;
        if link.is_some_and(|link| link.controller.is_some()) {
            batch.set_port(&end.name, PortSettings { isolated: Some(true), hairpin: None }, None);
            steps.push(format!("isolating port `{}`", end.name));
        }
    }
    run(&mut socket, batch, steps)
}

/// What would be set, in nft's language.
fn rules(config: &Config, result: &CniResult) -> Result<Vec<String>, CniError> {
    let mut rules = Vec::new();
    for address in addresses(result) {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        rules.push(format!("{family} daddr {address} ct state established,related accept"));
        rules.push(format!("{family} saddr {address} accept"));
    }
    if let Some(bridge) = bridge(config, result)? {
        rules.push(format!("iifname != \"{bridge}\" oifname \"{bridge}\" drop"));
        if config.policy == Policy::Isolated {
            rules.push(format!("iifname \"{bridge}\" oifname \"{bridge}\" drop"));
        }
    }
    Ok(rules)
}

/// Takes back what was let through for an attachment.
fn withdraw(
    context: &Context<'_>,
    table: &mut Firewall,
    owner: &Owner<'_>,
    result: Option<&CniResult>,
) -> Result<(), CniError> {
    let kept = table.admission(owner).map_err(refused)?;
    let known = match kept {
        Some(record) => record.elsewhere.into_iter().chain(record.outdated).collect(),
        // Somebody else made it, or the records are lost: only the configuration tells.
        None => {
            let named = Config::read(context).ok().filter(|config| config.backend != Some(Backend::Nftables));
            let told = named.zip(result).and_then(|(config, result)| {
                let backend = config.backend?.as_str().to_owned();
                Some(Elsewhere { backend, zone: config.zone, addresses: addresses(result) })
            });
            Vec::from_iter(told)
        }
    };
    take_back(context, &known)?;
    table.dismiss(owner).map_err(refused)
}

/// Takes back what was let through; success when there is nothing.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let mut table = Firewall::open(context.host).map_err(refused)?;
    withdraw(context, &mut table, &context.owner(), context.config.previous.as_ref())?;
    unmanaged::forget(context, WHAT)
}

/// Verifies that everything is let through and guarded.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?;
    let mut table = Firewall::open(context.host).map_err(refused)?;
    let kept = table.admission(&context.owner()).map_err(refused)?;
    let backend = match kept {
        Some(kept) => kept.elsewhere.and_then(|known| Backend::parse(&known.backend)).unwrap_or_default(),
        None => config.choose(context)?,
    };
    let record = record(context, &config, backend, previous)?;
    let addresses = addresses(previous);
    let elsewhere = match backend {
        Backend::Nftables => true,
        Backend::Iptables => iptables::check(context, &config, &addresses, bridge(&config, previous)?)?,
        Backend::Firewalld => firewalld::check(&config.zone, &addresses)?,
        Backend::Unmanaged => unmanaged::is_noted(context, WHAT),
    };
    let needs_table = backend == Backend::Nftables || record.bridge.is_some();
    if elsewhere && (!needs_table || table.is_admitted(&context.owner(), &record).map_err(refused)?) {
        return Ok(());
    }
    let message = format!("traffic of container {} is not let through as configured", context.container_id);
    Err(CniError::new(code::INTERNAL, message))
}

/// Takes back what was let through for attachments of the network that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let valid = context.config.valid_attachments()?;
    let mut table = Firewall::open(context.host).map_err(refused)?;
    for known in table.admitted(&context.config.name).map_err(refused)? {
        if !valid.contains(&known.owner()) {
            withdraw(context, &mut table, &known.owner(), None)?;
        }
    }
    unmanaged::collect(context, WHAT)
}

/// Verifies the configuration, and that the backend can be used.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let unavailable = |what: &str, cause: &dyn std::error::Error| {
        CniError::new(code::UNAVAILABLE, format!("{what} can't be used")).because(cause)
    };
    match config.choose(context)? {
        Backend::Nftables => Firewall::open(context.host)
            .and_then(|mut table| table.probe())
            .map_err(|cause| unavailable("nf_tables", &cause)),
        Backend::Iptables => iptables::probe(context).map_err(|cause| unavailable("iptables", &cause)),
        Backend::Firewalld if !firewalld::is_running() => {
            Err(CniError::new(code::UNAVAILABLE, "firewalld is not running"))
        }
        Backend::Firewalld | Backend::Unmanaged => Ok(()),
    }
}
