//! CHECK: whether a link in the container is still as ADD made it.

use super::failed;
use crate::netlink::{Link, RouteSocket};
use crate::protocol::{CniError, CniResult, Context, code};

/// The error of something that is not as ADD made it.
pub(crate) fn wrong(message: String) -> CniError {
    CniError::new(code::INTERNAL, message)
}

/// Verifies kind, hardware address, and with `addressed` the addresses and routes, of the context's link. To be called
/// inside the namespace.
pub(crate) fn check_link(
    context: &Context<'_>,
    previous: &CniResult,
    kind: Option<&str>,
    addressed: bool,
) -> Result<Link, CniError> {
    let name = context.interface.as_str();
    let mut socket = RouteSocket::open().map_err(failed("opening a socket in the namespace"))?;
    let link = socket.link(name).map_err(failed(format!("looking up `{name}`")))?;
    let link = link.ok_or_else(|| wrong(format!("container interface `{name}` not found")))?;
    if let Some(kind) = kind.filter(|kind| link.kind != *kind) {
        return Err(wrong(format!("container interface `{name}` is not a {kind}")));
    }
    let known = previous.interfaces.iter().find(|found| found.name == name && !found.sandbox.is_empty());
    let known = known.ok_or_else(|| wrong(format!("`{name}` is not in the result of the ADD")))?;
    if !known.mac.is_empty() && !known.mac.eq_ignore_ascii_case(&link.mac_text()) {
        return Err(wrong(format!("`{name}` has hardware address {}, not {}", link.mac_text(), known.mac)));
    }
    if addressed {
        check_addresses(&mut socket, &link, previous)?;
    }
    Ok(link)
}

fn check_addresses(socket: &mut RouteSocket, link: &Link, previous: &CniResult) -> Result<(), CniError> {
    let name = link.name.as_str();
    let addresses = socket.addresses(Some(link.index)).map_err(failed("listing addresses"))?;
    for ip in previous.addresses_of(name) {
        if !addresses.iter().any(|found| found.net == ip.address) {
            return Err(wrong(format!("failed to find address {} on interface {name}", ip.address)));
        }
    }
    let routes = socket.routes().map_err(failed("listing routes"))?;
    for route in &previous.routes {
        let is_default = route.dst.prefix_len() == 0;
        let gateway = route.gw.filter(|gateway| !gateway.is_unspecified());
        let found = routes.iter().any(|found| {
            found.destination.trunc() == route.dst.trunc()
                && (is_default || gateway.is_none() || found.gateway == gateway)
        });
        if !found {
            return Err(wrong(format!("expected route {} not found", route.dst)));
        }
    }
    Ok(())
}
