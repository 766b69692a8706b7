//! The `bridge` plugin: a veth pair between a namespace and a bridge of the host.
//!
//! ADD is two rows of netlink messages and no waiting: one on the host makes the pair, its one end up and on the
//! bridge, its other made inside the namespace; one in the namespace sets addresses, links and routes. Addresses come
//! first, from the address plugin, and rules before links are up, so that nothing passes unguarded. Only a plugin that
//! asks over the link (`dhcp`) is called when the pair is there, and at DEL before it goes.
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

use std::net::IpAddr;

use crate::delegate::{call_ipam, needs_link};
use crate::interface::{
    Derived, configure, container_interface, failed, pair_alias, remove_pair, remove_stray_pairs,
    remove_with_mac, retire_pair, with_addresses,
};
use crate::masquerade;
use crate::namespace::Namespace;
use crate::netlink::{Link, RouteSocket};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, Version, code};
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
    let attachment = Attaching { context, config: &config, namespace: &namespace };
    if config.ipam_type.as_deref().is_some_and(needs_link) {
        return attachment.link_first();
    }
    with_addresses(context, config.ipam_type.as_deref(), |addresses| attachment.addresses_first(addresses))
}

/// An attachment in the making.
#[derive(Clone, Copy, Debug)]
struct Attaching<'a> {
    context: &'a Context<'a>,
    config: &'a Config,
    namespace: &'a Namespace,
}

impl Attaching<'_> {
    fn addresses_first(self, mut result: CniResult) -> Result<CniResult, CniError> {
        let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
        self.complete(&mut result)?;
        let bridge = host::ensure_bridge(&mut socket, self.config)?;
        let gateway_link = self.serve(&mut socket, &bridge, &result)?;
        let mut derived = self.derive();
        let mac = self.config.mac.is_none().then(|| mac_by_address(&result)).flatten();
        derived.mac = mac.unwrap_or(derived.mac);
        self.connect(&mut socket, &bridge, &derived, &result)?;
        let made = configure(self.context, &self.config.setup(mac.is_none()), self.namespace, &result);
        let link = made.or_else(|error| self.undo(&mut socket, &derived, error))?;
        self.describe(&mut socket, &bridge, gateway_link, derived, &link, result)
    }

    /// For an address plugin that asks over the link.
    fn link_first(self) -> Result<CniResult, CniError> {
        let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
        let bridge = host::ensure_bridge(&mut socket, self.config)?;
        let derived = self.derive();
        self.connect(&mut socket, &bridge, &derived, &CniResult::default())?;
        let made = with_addresses(self.context, self.config.ipam_type.as_deref(), |mut result| {
            self.complete(&mut result)?;
            let gateway_link = self.serve(&mut socket, &bridge, &result)?;
            let link = configure(self.context, &self.config.setup(true), self.namespace, &result)?;
            self.describe(&mut socket, &bridge, gateway_link, self.derive(), &link, result)
        });
        made.or_else(|error| self.undo(&mut socket, &derived, error))
    }

    fn derive(self) -> Derived {
        let mut derived = Derived::new(&self.context.container_id, &self.context.interface);
        derived.mac = self.config.mac.unwrap_or(derived.mac);
        derived
    }

    fn complete(self, result: &mut CniResult) -> Result<(), CniError> {
        gateway::complete(self.config, result)?;
        for ip in &mut result.ips {
            ip.interface = Some(2);
        }
        Ok(())
    }

    /// Sets masquerading and gateways; gives the link that has the gateways if it is not the bridge itself.
    fn serve(
        self,
        socket: &mut RouteSocket,
        bridge: &Link,
        result: &CniResult,
    ) -> Result<Option<Link>, CniError> {
        if let Some(backend) = self.config.masquerade {
            masquerade::set(self.context, backend, &addresses(result))?;
        }
        if !self.config.is_gateway {
            return Ok(None);
        }
        let vlan = self.config.vlan;
        let gateway_link = vlan.map(|vlan| gateway_link::ensure_gateway(socket, bridge, vlan)).transpose()?;
        gateway::serve(socket, gateway_link.as_ref().unwrap_or(bridge), self.config, result)?;
        Ok(gateway_link)
    }

    /// Makes the pair, guarded, and its port.
    fn connect(
        self,
        socket: &mut RouteSocket,
        bridge: &Link,
        derived: &Derived,
        result: &CniResult,
    ) -> Result<(), CniError> {
        host::make_pair(socket, self.context, self.config, bridge, self.namespace, derived, result)?;
        guard(self.context, self.config, derived)
            .and_then(|()| vlan::set_port(socket, self.config, &derived.host_name))
            .or_else(|error| self.undo(socket, derived, error))
    }

    /// Takes the pair away again.
    fn undo<T>(self, socket: &mut RouteSocket, derived: &Derived, error: CniError) -> Result<T, CniError> {
        remove_pair(socket, &derived.host_name)?;
        if self.config.check_senders {
            sender_check::release(self.context)?;
        }
        Err(error)
    }

    fn describe(
        self,
        socket: &mut RouteSocket,
        bridge: &Link,
        gateway_link: Option<Link>,
        derived: Derived,
        link: &Link,
        mut result: CniResult,
    ) -> Result<CniResult, CniError> {
        // Unless somebody has set it, a bridge's hardware address is the lowest of its ports' (br_stp_recalculate_bridge_id).
        let bridge = socket.link_by_index(bridge.index).map_err(failed("looking up a link"))?;
        let bridge = bridge.ok_or_else(|| CniError::new(code::INTERNAL, "the bridge is gone"))?;
        result.interfaces = interfaces(self.context, &bridge, derived, link)?;
        result.interfaces.extend(gateway_link.map(|link| host_interface(&link)));
        if !self.config.dns.is_empty() {
            result.dns = self.config.dns.clone();
        }
        Ok(result)
    }
}

/// The hardware address that follows from the address of IPv4, when there is one and no other.
fn mac_by_address(result: &CniResult) -> Option<[u8; 6]> {
    let mut of_four = result.ips.iter().filter_map(|ip| match ip.address.addr() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let address = of_four.next()?;
    of_four.next().is_none().then(|| Derived::mac_of(address))
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
    let asks_first = config.ipam_type.as_deref().is_some_and(needs_link);
    let give_back = || match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Del).map(drop),
        None => Ok(()),
    };
    if asks_first {
        give_back()?;
    }
    let derived = Derived::new(&context.container_id, &context.interface);
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let namespace = context.open_namespace_if_alive()?;
    if !retire_pair(&mut socket, &context.host.removals, &derived.host_name, namespace.as_ref())?
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
    if asks_first { Ok(()) } else { give_back() }
}

/// Removes the network's ports, and the addresses, of all attachments that are not valid. Those of another network on the
/// same bridge are not told of, and stay.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let valid = context.config.valid_attachments()?;
    let asks_first = config.ipam_type.as_deref().is_some_and(needs_link);
    let give_back = || match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Gc).map(drop),
        None => Ok(()),
    };
    if asks_first {
        give_back()?;
    }
    remove_stray_pairs(&context.host.removals, &pair_alias(PLUGIN.name, context), &valid)?;
    if let Some(backend) = config.masquerade {
        masquerade::collect(context, backend)?;
    }
    if config.check_senders {
        sender_check::collect(context, &valid)?;
    }
    if asks_first { Ok(()) } else { give_back() }
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Status).map(drop),
        None => Ok(()),
    }
}
