//! CHECK: whether the attachment is still as ADD made it.

use super::config::Config;
use super::result::addresses;
use crate::delegate::call_ipam;
use crate::interface::{Derived, check_link, failed, not_entered, wrong};
use crate::masquerade;
use crate::netlink::RouteSocket;
use crate::protocol::{CniError, CniResult, Command, Context};

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
    let addressed = config.ipam_type.is_some();
    let inside = namespace.run(|| check_link(context, previous, Some("veth"), addressed));
    let link = inside.map_err(|cause| not_entered(&cause))??;
    if let Some(backend) = config.masquerade
        && !masquerade::is_set(context, backend, &addresses(previous))?
    {
        let message = format!("what `{}` sends is not masqueraded", context.interface);
        return Err(wrong(message));
    }
    if link.peer != Some(host_end) {
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
