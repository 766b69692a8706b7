//! The container's side, done on a thread inside the namespace.

use rustix::io::Errno;

use super::config::Config;
use super::{failed, not_entered};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, RouteSocket};
use crate::protocol::{CniError, CniResult, Context, code};
use crate::sysctl;

/// The index of loopback in every network namespace (Linux, `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Sets addresses, links and routes.
pub(super) fn configure(
    context: &Context<'_>,
    config: &Config,
    namespace: &Namespace,
    result: &CniResult,
) -> Result<Link, CniError> {
    namespace.run(|| inside(context, config, result)).map_err(|cause| not_entered(&cause))?
}

fn inside(context: &Context<'_>, config: &Config, result: &CniResult) -> Result<Link, CniError> {
    let name = context.interface.as_str();
    let mut socket = RouteSocket::open().map_err(failed("opening a socket in the namespace"))?;
    let link = socket.link(name).map_err(failed(format!("looking up `{name}`")))?;
    let link = link.ok_or_else(|| CniError::new(code::INTERNAL, format!("`{name}` vanished")))?;
    set_kernel_settings(name, config, result);
    let mut batch = Batch::new();
    let mut steps = Vec::new();
    let of_family = |four: bool| result.ips.iter().filter(move |ip| ip.address.addr().is_ipv4() == four);
    // IPv4 before the link is up, so that coming up announces it; IPv6 after, when its routes can be made.
    for ip in of_family(true) {
        batch.add_address(link.index, ip.address, false);
        steps.push(format!("setting address `{}`", ip.address));
    }
    if !config.keep_down {
        batch.link_up(link.index);
        steps.push(format!("setting `{name}` up"));
    }
    for ip in of_family(false) {
        batch.add_address(link.index, ip.address, config.probe_addresses);
        steps.push(format!("setting address `{}`", ip.address));
    }
    for route in &result.routes {
        let four = route.dst.addr().is_ipv4();
        batch.add_route(link.index, route, of_family(four).find_map(|ip| ip.gateway));
        steps.push(format!("adding route `{}`", route.dst));
    }
    if context.host.with_loopback {
        batch.link_up(LOOPBACK);
        steps.push("setting `lo` up".into());
    }
    let verdicts = socket.run(batch).map_err(failed(format!("configuring `{name}`")))?;
    for (step, verdict) in steps.into_iter().zip(verdicts) {
        verdict.map_err(|refusal| failed(step)(NetlinkError::Refused(refusal)))?;
    }
    Ok(link)
}

/// Settings that the reference plugin makes too, and that fail as quietly there: a kernel without them works as well.
fn set_kernel_settings(name: &str, config: &Config, result: &CniResult) {
    let mut settings = vec![("ipv4", "arp_notify", "1")];
    if result.ips.iter().any(|ip| ip.address.addr().is_ipv6()) {
        // Namespaces may start with IPv6 switched off, by the host's defaults.
        if sysctl::read(&format!("ipv6/conf/{name}/disable_ipv6")).is_ok_and(|value| value == "1") {
            settings.push(("ipv6", "disable_ipv6", "0"));
        }
        settings.extend([
            ("ipv6", "accept_ra", "0"),
            ("ipv6", "accept_redirects", "0"),
            ("ipv6", "ndisc_notify", "1"),
            ("ipv6", "accept_dad", if config.probe_addresses { "1" } else { "0" }),
        ]);
    }
    for (family, key, value) in settings {
        drop(sysctl::write(&format!("{family}/conf/{name}/{key}"), value));
    }
}

/// Whether the namespace has a link of this name.
pub(super) fn has_link(namespace: &Namespace, name: &str) -> Result<bool, CniError> {
    let found = namespace.run(|| RouteSocket::open().and_then(|mut socket| socket.link(name)));
    let found = found.map_err(|cause| not_entered(&cause))?;
    Ok(found.map_err(failed(format!("looking up `{name}`")))?.is_some())
}

/// Removes a veth pair by its end in the namespace: one that another implementation made, if the hardware address shows
/// that it is the one of the ADD.
pub(super) fn remove(namespace: &Namespace, name: &str, mac: &str) -> Result<(), CniError> {
    let removed = namespace.run(|| {
        let mut socket = RouteSocket::open()?;
        match socket.link(name)? {
            Some(link) if link.kind == "veth" && link.mac_text() == mac => {
                let mut batch = Batch::new();
                batch.delete_link(name);
                match socket.run(batch)?.into_iter().next() {
                    Some(Err(refusal)) if refusal.errno != Errno::NODEV => {
                        Err(NetlinkError::Refused(refusal))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    });
    removed.map_err(|cause| not_entered(&cause))?.map_err(failed(format!("removing `{name}`")))
}
