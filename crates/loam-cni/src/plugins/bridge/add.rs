//! ADD: makes the attachment, and undoes what it did when a step fails.

use std::net::IpAddr;

use super::config::Config;
use super::result::{addresses, host_interface, interfaces};
use super::{gateway, gateway_link, host, sender_check, vlan};
use crate::delegate::needs_link;
use crate::interface::{Derived, configure, failed, remove_pair, with_addresses};
use crate::masquerade;
use crate::namespace::Namespace;
use crate::netlink::{Link, RouteSocket};
use crate::protocol::{CniError, CniResult, Context, code};

/// Attaches a namespace to the bridge.
pub(super) fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
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

/// Lets the container send from its own hardware address only, if so configured. Its link is still down.
fn guard(context: &Context<'_>, config: &Config, derived: &Derived) -> Result<(), CniError> {
    if !config.check_senders {
        return Ok(());
    }
    sender_check::guard(context, derived)
}
