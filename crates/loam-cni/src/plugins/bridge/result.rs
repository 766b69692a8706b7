//! The result of ADD: its interfaces, and what later commands find in it.

use crate::interface::{Derived, container_interface};
use crate::netlink::Link;
use crate::protocol::{CniError, CniResult, Context, Interface};

/// The result's interfaces: the bridge, the end on the host, the end in the namespace.
pub(super) fn interfaces(
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

/// The entry of a link of the host.
pub(super) fn host_interface(link: &Link) -> Interface {
    Interface { name: link.name.clone(), mac: link.mac_text(), mtu: Some(link.mtu), ..Interface::default() }
}

/// The addresses, with the lengths of their prefixes.
pub(super) fn addresses(result: &CniResult) -> Vec<ipnet::IpNet> {
    result.ips.iter().map(|ip| ip.address).collect()
}

/// The hardware address that the end in the namespace has by the result of ADD.
pub(super) fn known_mac<'a>(context: &'a Context<'_>) -> Option<&'a str> {
    let mut ends = context.config.previous.as_ref()?.interfaces.iter().filter(|end| !end.sandbox.is_empty());
    ends.find(|end| end.name == context.interface).map(|end| end.mac.as_str())
}
