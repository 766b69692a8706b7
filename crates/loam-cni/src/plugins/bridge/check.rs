//! CHECK: whether the attachment is still as ADD made it.

use super::config::Config;
use super::{Derived, addresses, failed, not_entered};
use crate::delegate::call_ipam;
use crate::masquerade;
use crate::netlink::RouteSocket;
use crate::protocol::{CniError, CniResult, Command, Context, code};

fn wrong(message: String) -> CniError {
    CniError::new(code::INTERNAL, message)
}

/// Verifies an attachment.
pub(super) fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    if let Some(kind) = &config.ipam_type {
        call_ipam(context, kind, Command::Check)?;
    }
    let previous = context.config.require_previous()?;
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let (host_end, bridge) = check_host(&mut socket, context, &config, previous)?;
    let inside = namespace.run(|| check_inside(context, previous, &config));
    let peer = inside.map_err(|cause| not_entered(&cause))??;
    if let Some(backend) = config.masquerade
        && !masquerade::is_set(context, backend, &addresses(previous))?
    {
        let message = format!("what `{}` sends is not masqueraded", context.interface);
        return Err(wrong(message));
    }
    if peer != Some(host_end) {
        let message = format!("`{}` is not connected to bridge `{bridge}`", context.interface);
        return Err(wrong(message));
    }
    Ok(())
}

/// Verifies the host's side; gives the index of the host's end.
fn check_host(
    socket: &mut RouteSocket,
    context: &Context<'_>,
    config: &Config,
    previous: &CniResult,
) -> Result<(u32, String), CniError> {
    let name = &config.bridge;
    let bridge = socket.link(name).map_err(failed(format!("looking up `{name}`")))?;
    let bridge = bridge.ok_or_else(|| wrong(format!("bridge `{name}` not found")))?;
    if bridge.kind != "bridge" {
        return Err(wrong(format!("`{name}` is not a bridge")));
    }
    let known = previous.interfaces.iter().find(|found| found.name == *name && found.sandbox.is_empty());
    let known = known.ok_or_else(|| wrong(format!("bridge `{name}` is not in the result of the ADD")))?;
    if !known.mac.is_empty() && known.mac != bridge.mac_text() {
        return Err(wrong(format!(
            "bridge `{name}` has hardware address {}, not {}",
            bridge.mac_text(),
            known.mac
        )));
    }
    if config.promiscuous != bridge.promiscuous {
        return Err(wrong(format!("promiscuous mode of bridge `{name}` is not as configured")));
    }
    let host_name = Derived::new(&context.container_id, &context.interface).host_name;
    let host_end = socket.link(&host_name).map_err(failed(format!("looking up `{host_name}`")))?;
    let host_end = host_end.ok_or_else(|| wrong(format!("host interface `{host_name}` not found")))?;
    if host_end.kind != "veth" || host_end.controller != Some(bridge.index) {
        return Err(wrong(format!("host interface `{host_name}` is not a port of bridge `{name}`")));
    }
    Ok((host_end.index, bridge.name))
}

/// Verifies the container's side; gives the index of the other end.
fn check_inside(
    context: &Context<'_>,
    previous: &CniResult,
    config: &Config,
) -> Result<Option<u32>, CniError> {
    let name = &context.interface;
    let mut socket = RouteSocket::open().map_err(failed("opening a socket in the namespace"))?;
    let link = socket.link(name).map_err(failed(format!("looking up `{name}`")))?;
    let link = link.ok_or_else(|| wrong(format!("container interface `{name}` not found")))?;
    if link.kind != "veth" {
        return Err(wrong(format!("container interface `{name}` is not a veth")));
    }
    let known = previous.interfaces.iter().find(|found| found.name == *name && !found.sandbox.is_empty());
    let known = known.ok_or_else(|| wrong(format!("`{name}` is not in the result of the ADD")))?;
    if !known.mac.is_empty() && known.mac != link.mac_text() {
        return Err(wrong(format!("`{name}` has hardware address {}, not {}", link.mac_text(), known.mac)));
    }
    if config.ipam_type.is_none() {
        return Ok(link.peer);
    }
    let addresses = socket.addresses(Some(link.index)).map_err(failed("listing addresses"))?;
    for ip in previous.addresses_of(name) {
        if !addresses.iter().any(|found| found.net == ip.address) {
            return Err(wrong(format!("failed to find address {} on interface {name}", ip.address)));
        }
    }
    let routes = socket.routes().map_err(failed("listing routes"))?;
    for route in &previous.routes {
        let is_default = route.dst.prefix_len() == 0;
        let found = routes.iter().any(|found| {
            found.destination.trunc() == route.dst.trunc()
                && (is_default || route.gw.is_none() || found.gateway == route.gw)
        });
        if !found {
            return Err(wrong(format!("expected route {} not found", route.dst)));
        }
    }
    Ok(link.peer)
}
