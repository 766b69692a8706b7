//! The `ptp` plugin: a veth pair between a container and the host itself, which routes.
//!
//! The container reaches its gateway, an address of the host's end, and everything else through it, its own subnet too.
//! The host has a route to each of the container's addresses. The host's end carries the network's name as alias, so that
//! GC knows whose it is.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::delegate::call_ipam;
use crate::interface::{
    Derived, InterfaceConfig, Setup, check_link, configure, container_interface, failed, forward, make_pair,
    not_entered, pair_alias, remove_pair, remove_stray_pairs, remove_with_mac, retire_pair, status,
    with_addresses, wrong,
};
use crate::masquerade::{self, Backend};
use crate::namespace::Namespace;
use crate::netlink::{AddressOptions, Batch, Link, NetlinkError, RouteSocket, Veth, mac_text};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, IpConfig, Route, Version, code};

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "ptp", role: Role::Interface, oldest: Version::V0_1_0, add, del, check, gc, status };

/// `RT_SCOPE_HOST`.
const SCOPE_HOST: u8 = 254;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: u32,
}

#[derive(Debug)]
struct Config {
    /// Who masquerades, if it is done.
    masquerade: Option<Backend>,
    mtu: Option<u32>,
    interface: InterfaceConfig,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        let backend = Backend::parse(keys.ip_masq_backend.as_deref())?;
        Ok(Self {
            masquerade: keys.ip_masq.then_some(backend),
            mtu: (keys.mtu > 0).then_some(keys.mtu),
            interface: InterfaceConfig::read(context)?,
        })
    }
}

fn addresses(result: &CniResult) -> Vec<IpNet> {
    result.ips.iter().map(|ip| ip.address).collect()
}

/// Makes the pair, and the routes on both sides.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let ipam = config.interface.require_ipam()?;
    let namespace = context.open_namespace()?;
    with_addresses(context, Some(ipam), |addresses| attach(context, &config, &namespace, addresses))
}

fn attach(
    context: &Context<'_>,
    config: &Config,
    namespace: &Namespace,
    mut result: CniResult,
) -> Result<CniResult, CniError> {
    for ip in &mut result.ips {
        ip.interface = Some(1);
        gateway(ip)?;
    }
    let has = |four: bool| result.ips.iter().any(|ip| ip.address.addr().is_ipv4() == four);
    forward(has(true), has(false))?;
    if let Some(backend) = config.masquerade {
        masquerade::set(context, backend, &addresses(&result))?;
    }
    let derived = Derived::new(&context.container_id, &context.interface);
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let veth = Veth {
        host_name: &derived.host_name,
        host_mac: derived.host_mac,
        bridge: None,
        namespace,
        name: &context.interface,
        mac: derived.mac,
        mtu: config.mtu,
    };
    let label = |batch: &mut Batch| {
        batch.set_alias(&derived.host_name, &pair_alias(PLUGIN.name, context));
    };
    make_pair(&mut socket, &veth, Some(("labelling the host's end", &label)), &|_| {})?;
    let setup = Setup { through_gateway: true, ..Setup::HOST_ONLY };
    let made = lead_to(&mut socket, &derived.host_name, &result.ips)
        .and_then(|host_end| Ok((host_end, configure(context, &setup, namespace, &result)?)));
    let (host_end, link) = match made {
        Ok(ends) => ends,
        Err(error) => {
            remove_pair(&mut socket, &derived.host_name)?;
            return Err(error);
        }
    };
    let host = Interface {
        mac: mac_text(&host_end.mac),
        mtu: Some(host_end.mtu),
        name: host_end.name,
        ..Interface::default()
    };
    result.interfaces = vec![host, container_interface(context, &link)?];
    config.interface.apply_dns(&mut result);
    Ok(result)
}

/// The gateway of an address, which must be there.
fn gateway(ip: &IpConfig) -> Result<IpAddr, CniError> {
    match ip.gateway {
        Some(gateway) if gateway.is_ipv4() == ip.address.addr().is_ipv4() => Ok(gateway),
        Some(gateway) => Err(CniError::invalid_config(format!(
            "gateway `{gateway}` is not of the family of address `{}`",
            ip.address
        ))),
        None => Err(CniError::invalid_config(format!("address `{}` has no gateway", ip.address))),
    }
}

/// Gives the host's end the gateways, and routes to the addresses.
fn lead_to(socket: &mut RouteSocket, host_name: &str, ips: &[IpConfig]) -> Result<Link, CniError> {
    let link = socket.link(host_name).map_err(failed(format!("looking up `{host_name}`")))?;
    let link = link.ok_or_else(|| CniError::new(code::TRY_AGAIN, format!("`{host_name}` vanished")))?;
    let mut batch = Batch::new();
    let mut steps = Vec::new();
    let mut gateways = Vec::new();
    for ip in ips {
        let gateway = gateway(ip)?;
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
            batch.add_address(link.index, IpNet::from(gateway), AddressOptions::default());
            steps.push(format!("setting address `{gateway}` on `{host_name}`"));
        }
    }
    for ip in ips {
        let route = Route { scope: Some(SCOPE_HOST), ..Route::new(ip.address.addr().into(), None) };
        batch.add_route(link.index, &route, None);
        steps.push(format!("adding a route to `{}`", ip.address.addr()));
    }
    let verdicts = socket.run(batch).map_err(failed(format!("configuring `{host_name}`")))?;
    for (step, verdict) in steps.into_iter().zip(verdicts) {
        verdict.map_err(|refusal| failed(step)(NetlinkError::Refused(refusal)))?;
    }
    Ok(link)
}

/// Removes the pair and gives the addresses back.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = InterfaceConfig::read(context)?;
    let derived = Derived::new(&context.container_id, &context.interface);
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let namespace = context.open_namespace_if_alive()?;
    if !retire_pair(&mut socket, &context.host.removals, &derived.host_name, namespace.as_ref())?
        && let Some(mac) = known_mac(context)
        && let Some(namespace) = namespace
    {
        remove_with_mac(&namespace, &context.interface, mac)?;
    }
    // What ADD refused has nothing to undo.
    if let Some(backend) = Config::read(context).ok().and_then(|config| config.masquerade) {
        masquerade::remove(context, backend)?;
    }
    match config.ipam_type() {
        Some(ipam) => call_ipam(context, ipam, Command::Del).map(drop),
        None => Ok(()),
    }
}

/// The hardware address of the container's end, as the result of the ADD has it.
fn known_mac<'a>(context: &'a Context<'_>) -> Option<&'a str> {
    let previous = context.config.previous.as_ref()?;
    let mut ends = previous.interfaces.iter().filter(|end| !end.sandbox.is_empty());
    ends.find(|end| end.name == context.interface).map(|end| end.mac.as_str())
}

/// Verifies both ends, addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    if let Some(ipam) = config.interface.ipam_type() {
        call_ipam(context, ipam, Command::Check)?;
    }
    let previous = context.config.require_previous()?;
    if let Some(backend) = config.masquerade
        && !masquerade::is_set(context, backend, &addresses(previous))?
    {
        return Err(wrong(format!("what `{}` sends is not masqueraded", context.interface)));
    }
    let known = previous.interfaces.iter().find(|interface| interface.sandbox.is_empty());
    let host_name =
        &known.ok_or_else(|| wrong("the host's end is not in the result of the ADD".into()))?.name;
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let host_end = socket.link(host_name).map_err(failed(format!("looking up `{host_name}`")))?;
    let host_end = host_end.ok_or_else(|| wrong(format!("host interface `{host_name}` not found")))?;
    let inside = namespace.run(|| check_link(context, previous, Some("veth"), true));
    let link = inside.map_err(|cause| not_entered(&cause))??;
    if host_end.kind != "veth" || link.peer != Some(host_end.index) {
        return Err(wrong(format!("`{}` is not connected to `{host_name}`", context.interface)));
    }
    Ok(())
}

/// Removes the network's pairs, and the addresses, of all attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let config = InterfaceConfig::read(context)?;
    let valid = context.config.valid_attachments()?;
    remove_stray_pairs(&context.host.removals, &pair_alias(PLUGIN.name, context), &valid)?;
    if let Some(backend) = Config::read(context).ok().and_then(|config| config.masquerade) {
        masquerade::collect(context, backend)?;
    }
    match config.ipam_type() {
        Some(ipam) => call_ipam(context, ipam, Command::Gc).map(drop),
        None => Ok(()),
    }
}
