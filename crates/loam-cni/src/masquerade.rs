//! Masquerading what a container sends to the outside, by the backend that a configuration names (`ipMasqBackend`).
//!
//! Ours is a set in the table of [`crate::firewall`]. With iptables it is a chain for each container, as the reference
//! plugins make it. With `none` it is left to the administrator.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::firewall::{ChainRecord, Firewall, FirewallError, NetworkRecord};
use crate::iptables::{Change, Family, Iptables, Rule, Table, chain_name};
use crate::protocol::{CniError, Context, code};
use crate::records::Records;
use crate::unmanaged;

const TABLE: &str = "nat";
const POSTROUTING: &str = "POSTROUTING";
/// What [`unmanaged`] calls it.
const WHAT: &str = "masquerade";
type Record = ChainRecord<true>;

/// Who masquerades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Our table.
    #[default]
    Nftables,
    /// The programs of iptables.
    Iptables,
    /// The administrator.
    Unmanaged,
}

impl Backend {
    /// Reads a configuration's `ipMasqBackend`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, CniError> {
        match text {
            None | Some("" | "nftables") => Ok(Backend::Nftables),
            Some("iptables") => Ok(Backend::Iptables),
            Some("none") => Ok(Backend::Unmanaged),
            Some(other) => Err(CniError::unsupported_field("ipMasqBackend", other.escape_default())),
        }
    }
}

fn failed(cause: FirewallError) -> CniError {
    CniError::internal("masquerading failed", &cause)
}

fn records(context: &Context<'_>) -> Records {
    Records::new(context.host.state_directory.clone())
}

fn sources(addresses: &[IpNet]) -> NetworkRecord {
    NetworkRecord { sources: addresses.iter().map(IpNet::trunc).collect() }
}

/// Masquerades what comes from a container's addresses, and goes beyond their subnets.
pub(crate) fn set(context: &Context<'_>, backend: Backend, addresses: &[IpNet]) -> Result<(), CniError> {
    match backend {
        Backend::Nftables => Firewall::open(context.host)
            .and_then(|mut firewall| firewall.masquerade(&context.config.name, &sources(addresses)))
            .map_err(failed),
        Backend::Iptables => set_iptables(context, addresses),
        Backend::Unmanaged => {
            let rule = |net: &IpNet| {
                let (family, subnet) = (if net.addr().is_ipv4() { "ip" } else { "ip6" }, net.trunc());
                format!("{family} saddr {} {family} daddr != {subnet} masquerade", net.addr())
            };
            unmanaged::note(context, WHAT, &addresses.iter().map(rule).collect::<Vec<_>>())
        }
    }
}

fn set_iptables(context: &Context<'_>, addresses: &[IpNet]) -> Result<(), CniError> {
    let record = Record { network: context.config.name.clone() };
    records(context)
        .keep(&context.owner(), &record)
        .map_err(|cause| CniError::internal("masquerading failed", &cause))?;
    let mut iptables = Iptables::open(context.host)?;
    for family in Family::ALL {
        let of_family: Vec<&IpNet> =
            addresses.iter().filter(|net| Family::of(net.addr()) == family).collect();
        if !of_family.is_empty() {
            iptables.change(family, TABLE, |table, change| fill(context, &of_family, table, change))?;
        }
    }
    Ok(())
}

fn fill(context: &Context<'_>, addresses: &[&IpNet], table: &Table, change: &mut Change) {
    let (network, container) = (&context.config.name, &context.container_id);
    let chain = chain_name("", network, container);
    let comment = format!("name: \"{network}\" id: \"{container}\"");
    let comment: String = comment.chars().take(255).collect();
    let commented = Rule::new(&["-m", "comment", "--comment", &comment]);
    for rule in table.leading_to(&chain) {
        change.remove(rule);
    }
    change.fresh_chain(&chain);
    for net in addresses {
        change.append(&chain, &commented.clone().and(["-d", &net.trunc().to_string(), "-j", "ACCEPT"]));
        let multicast = if net.addr().is_ipv4() { "224.0.0.0/4" } else { "ff00::/8" };
        change.append(&chain, &commented.clone().and(["!", "-d", multicast, "-j", "MASQUERADE"]));
        let source = net.addr().to_string();
        change.append(POSTROUTING, &commented.clone().and(["-s", &source, "-j", &chain]));
    }
}

/// Whether it is masqueraded.
pub(crate) fn is_set(context: &Context<'_>, backend: Backend, addresses: &[IpNet]) -> Result<bool, CniError> {
    match backend {
        Backend::Nftables => Firewall::open(context.host)
            .and_then(|mut firewall| firewall.is_masqueraded(&sources(addresses)))
            .map_err(failed),
        Backend::Iptables => {
            let chain = chain_name("", &context.config.name, &context.container_id);
            let iptables = Iptables::open(context.host)?;
            for address in addresses.iter().map(IpNet::addr) {
                let table = iptables.table(Family::of(address), TABLE)?;
                let length = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
                let source = format!(" -s {address}/{length} ");
                let leads = table.leading_to(&chain).any(|rule| rule.contains(&source));
                if !leads || table.rules(&chain).next().is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Backend::Unmanaged => Ok(unmanaged::is_noted(context, WHAT)),
    }
}

/// Undoes what was done for one container; the set of our table is the network's, and stays.
pub(crate) fn remove(context: &Context<'_>, backend: Backend) -> Result<(), CniError> {
    match backend {
        Backend::Nftables => Ok(()),
        Backend::Iptables => {
            remove_chain(context, TABLE, &chain_name("", &context.config.name, &context.container_id))?;
            records(context)
                .forget::<Record>(&context.owner())
                .map_err(|cause| CniError::internal("undoing the masquerade failed", &cause))
        }
        Backend::Unmanaged => unmanaged::forget(context, WHAT),
    }
}

/// Removes a chain of both families; one of them may be missing on this host.
pub(crate) fn remove_chain(context: &Context<'_>, table: &'static str, chain: &str) -> Result<(), CniError> {
    let mut iptables = Iptables::open(context.host)?;
    let removed = Family::ALL.map(|family| {
        iptables.change(family, table, |found, change| {
            change.remove_chain(found, chain);
        })
    });
    match removed {
        [Err(error), Err(other)] => Err(CniError::new(code::INTERNAL, format!("{error}; {other}"))),
        _ => Ok(()),
    }
}

/// Undoes what was done for attachments of the network that are not valid.
pub(crate) fn collect(context: &Context<'_>, backend: Backend) -> Result<(), CniError> {
    match backend {
        Backend::Nftables => Ok(()),
        Backend::Iptables => {
            let network = &context.config.name;
            let failed = |cause| CniError::internal("undoing the masquerade failed", &cause);
            let valid = context.config.valid_attachments()?;
            for known in records(context).owners::<Record>(network).map_err(failed)? {
                if !valid.contains(&known.owner()) {
                    remove_chain(context, TABLE, &chain_name("", network, &known.container_id))?;
                    records(context).forget::<Record>(&known.owner()).map_err(failed)?;
                }
            }
            Ok(())
        }
        Backend::Unmanaged => unmanaged::collect(context, WHAT),
    }
}
