//! The links that hold the gateways' addresses of a bridge's virtual networks, `BRIDGE.NUMBER`: each is one end of a veth
//! pair, the other of which, `gate-HASH`, is a port of the bridge. They serve all containers of the number, and go when the
//! network is removed.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::vlan::set;
use crate::interface::{failed, make_pair, remove_pair};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, RouteSocket, Veth, VlanRange};
use crate::protocol::{CniError, check_interface_name, code};

/// The end of the pair that is a port of the bridge; name and hardware addresses follow from the gateway's name.
struct GatewayPort {
    name: String,
    mac: [u8; 6],
    gateway_mac: [u8; 6],
}

impl GatewayPort {
    fn new(gateway: &str) -> Self {
        let hash = Sha256::digest(gateway.as_bytes());
        let digits: String = hash[..5].iter().map(|byte| format!("{byte:02x}")).collect();
        let mac = |at: usize| {
            let mut mac = [0; 6];
            mac.copy_from_slice(&hash[at..at + 6]);
            // Locally administered, not a group (IEEE 802, clause 8.4).
            mac[0] = (mac[0] & 0xfc) | 0x02;
            mac
        };
        Self { name: format!("gate-{digits}"), mac: mac(8), gateway_mac: mac(16) }
    }

    fn make(&self, socket: &mut RouteSocket, bridge: &Link, gateway: &str) -> Result<(), CniError> {
        let own = Namespace::open_any(Path::new("/proc/thread-self/ns/net"))
            .map_err(|cause| CniError::internal("opening the host's network namespace failed", &cause))?;
        let veth = Veth {
            host_name: &self.name,
            host_mac: self.mac,
            bridge: Some(bridge.index),
            namespace: &own,
            name: gateway,
            mac: self.gateway_mac,
            mtu: Some(bridge.mtu),
        };
        match make_pair(socket, &veth, None, &|_| {}) {
            // Another ADD was faster.
            Err(error) if error.code == code::EXISTS => Ok(()),
            made => made,
        }
    }
}

/// Finds or makes the link of a number.
pub(super) fn ensure_gateway(socket: &mut RouteSocket, bridge: &Link, vlan: u16) -> Result<Link, CniError> {
    let name = format!("{}.{vlan}", bridge.name);
    check_interface_name(&name).map_err(|error| CniError::invalid_config(error.message))?;
    let find = |socket: &mut RouteSocket| socket.link(&name).map_err(failed(format!("looking up `{name}`")));
    let found = find(socket)?;
    if let Some(link) = found.as_ref().filter(|link| link.up) {
        return Ok(link.clone());
    }
    let port = GatewayPort::new(&name);
    // Up is the last step: one that is down was left by an ADD that was killed, or is being made by another one.
    if found.is_none() {
        port.make(socket, bridge, &name)?;
    }
    set(socket, &port.name, &[VlanRange { first: vlan, last: vlan, untagged: true }], true)?;
    let link = find(socket)?
        .ok_or_else(|| CniError::new(code::TRY_AGAIN, format!("gateway link `{name}` vanished")))?;
    let mut batch = Batch::new();
    batch.link_up(link.index);
    for verdict in socket.run(batch).map_err(failed(format!("setting `{name}` up")))? {
        verdict.map_err(|refusal| failed(format!("setting `{name}` up"))(NetlinkError::Refused(refusal)))?;
    }
    Ok(link)
}

/// Removes the links of a bridge: that of one number, or all. Success when there is nothing.
pub fn remove_gateway_links(bridge: &str, vlan: Option<u16>) -> Result<(), CniError> {
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let links = socket.links().map_err(failed("listing links"))?;
    let Some(bridge) = links.iter().find(|link| link.name == bridge && link.kind == "bridge") else {
        return Ok(());
    };
    for port in links.iter().filter(|link| link.kind == "veth" && link.controller == Some(bridge.index)) {
        let Some(gateway) = links.iter().find(|link| Some(link.index) == port.peer) else { continue };
        let number = gateway.name.strip_prefix(&format!("{}.", bridge.name));
        let number: Option<u16> = number.and_then(|number| number.parse().ok());
        let meant = number.is_some_and(|number| vlan.is_none_or(|wanted| wanted == number));
        if meant && GatewayPort::new(&gateway.name).name == port.name {
            remove_pair(&mut socket, &port.name)?;
        }
    }
    Ok(())
}
