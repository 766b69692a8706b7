//! The `bridge` plugin: a veth pair between a namespace and a bridge of the host.
//!
//! ADD is two rows of netlink messages and no waiting: one on the host makes the pair, its one end up and on the
//! bridge, its other made inside the namespace; one in the namespace sets addresses, links and routes. Addresses come
//! first, from the address plugin, and rules before links are up, so that nothing passes unguarded.
//!
//! The name of the host's end follows from container id and interface, so that DEL finds it without any record. It carries
//! the network's name as alias, so that GC knows whose it is: several networks may share a bridge. The pair is out of
//! service when DEL answers, with its names free and nothing passing, so that the address can be given back; the kernel has
//! removed it a moment later (see `interface::retire`). A namespace that is gone takes the pair with it, but not at once,
//! and not while somebody keeps it: DEL does not rely on that.

mod check;
mod config;
mod gateway;
mod gateway_link;
mod host;
mod sender_check;
mod vlan;

use crate::delegate::call_ipam;
use crate::interface::{
    Derived, configure, container_interface, failed, pair_alias, remove_pair, remove_stray_pairs,
    remove_with_mac, retire_pair, with_addresses,
};
use crate::masquerade;
use crate::netlink::{Link, RouteSocket};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, Version};
use check::check;
use config::Config;
pub use gateway_link::remove_gateway_links;

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "bridge", role: Role::Interface, oldest: Version::V0_1_0, add, del, check, gc, status };

/// Attaches a namespace to the bridge.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    with_addresses(context, config.ipam_type.as_deref(), |addresses| {
        attach(context, &config, &namespace, addresses)
    })
}

fn attach(
    context: &Context<'_>,
    config: &Config,
    namespace: &crate::namespace::Namespace,
    mut result: CniResult,
) -> Result<CniResult, CniError> {
    gateway::complete(config, &mut result)?;
    for ip in &mut result.ips {
        ip.interface = Some(2);
    }
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let bridge = host::ensure_bridge(&mut socket, config)?;
    if let Some(backend) = config.masquerade {
        masquerade::set(context, backend, &addresses(&result))?;
    }
    let mut gateway_link = None;
    if config.is_gateway {
        gateway_link =
            config.vlan.map(|vlan| gateway_link::ensure_gateway(&mut socket, &bridge, vlan)).transpose()?;
        gateway::serve(&mut socket, gateway_link.as_ref().unwrap_or(&bridge), config, &result)?;
    }
    let mut derived = Derived::new(&context.container_id, &context.interface);
    derived.mac = config.mac.unwrap_or(derived.mac);
    host::make_pair(&mut socket, context, config, &bridge, namespace, &derived, &result)?;
    let made = guard(context, config, &derived)
        .and_then(|()| vlan::set_port(&mut socket, config, &derived.host_name))
        .and_then(|()| configure(context, &config.setup(), namespace, &result));
    let link = match made {
        Ok(link) => link,
        Err(error) => {
            remove_pair(&mut socket, &derived.host_name)?;
            if config.check_senders {
                sender_check::release(context)?;
            }
            return Err(error);
        }
    };
    result.interfaces = interfaces(context, &bridge, derived, &link)?;
    result.interfaces.extend(gateway_link.map(|link| host_interface(&link)));
    if !config.dns.is_empty() {
        result.dns = config.dns.clone();
    }
    Ok(result)
}

fn addresses(result: &CniResult) -> Vec<ipnet::IpNet> {
    result.ips.iter().map(|ip| ip.address).collect()
}

/// Lets the container send from its own hardware address only, if so configured. Its link is still down.
fn guard(context: &Context<'_>, config: &Config, derived: &Derived) -> Result<(), CniError> {
    if !config.check_senders {
        return Ok(());
    }
    sender_check::guard(context, derived)
}

fn host_interface(link: &Link) -> Interface {
    Interface { name: link.name.clone(), mac: link.mac_text(), mtu: Some(link.mtu), ..Interface::default() }
}

/// The result's interfaces: the bridge, the end on the host, the end in the namespace.
fn interfaces(
    context: &Context<'_>,
    bridge: &Link,
    derived: Derived,
    link: &Link,
) -> Result<Vec<Interface>, CniError> {
    let host_end = Interface {
        name: derived.host_name,
        mac: crate::netlink::mac_text(&derived.host_mac),
        mtu: Some(link.mtu),
        ..Interface::default()
    };
    Ok(vec![host_interface(bridge), host_end, container_interface(context, link)?])
}

/// The hardware address that the end in the namespace has by the result of ADD.
fn known_mac<'a>(context: &'a Context<'_>) -> Option<&'a str> {
    let mut ends = context.config.previous.as_ref()?.interfaces.iter().filter(|end| !end.sandbox.is_empty());
    ends.find(|end| end.name == context.interface).map(|end| end.mac.as_str())
}

/// Removes the attachment; success when there is nothing.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let derived = Derived::new(&context.container_id, &context.interface);
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let namespace = context.open_namespace_if_alive()?;
    if !retire_pair(&mut socket, &derived.host_name, namespace.as_ref())?
        && let Some(namespace) = namespace
        && let Some(mac) = known_mac(context)
    {
        remove_with_mac(&namespace, &context.interface, mac)?;
    }
    if let Some(backend) = config.masquerade {
        masquerade::remove(context, backend)?;
    }
    if config.check_senders {
        sender_check::release(context)?;
    }
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Del).map(drop),
        None => Ok(()),
    }
}

/// Removes the network's ports, and the addresses, of all attachments that are not valid. Those of another network on the
/// same bridge are not told of, and stay.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let valid = context.config.valid_attachments()?;
    remove_stray_pairs(&pair_alias(PLUGIN.name, context), &valid)?;
    if let Some(backend) = config.masquerade {
        masquerade::collect(context, backend)?;
    }
    if config.check_senders {
        sender_check::collect(context, &valid)?;
    }
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Gc).map(drop),
        None => Ok(()),
    }
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Status).map(drop),
        None => Ok(()),
    }
}
