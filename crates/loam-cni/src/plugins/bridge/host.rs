//! The host's side: the bridge, and the pair's end on it.

use std::fs::File;
use std::io::Read;

use rustix::io::Errno;

use super::config::Config;
use super::{Derived, failed};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, PortSettings, RouteSocket, Veth};
use crate::protocol::{CniError, CniResult, Context, code};
use crate::sysctl;

/// How often a name that is taken by a dying link is tried again.
const ATTEMPTS: u32 = 3;

/// Finds the bridge, or makes it.
pub(super) fn ensure_bridge(socket: &mut RouteSocket, config: &Config) -> Result<Link, CniError> {
    let name = config.bridge.as_str();
    let find =
        |socket: &mut RouteSocket| socket.link(name).map_err(failed(format!("looking up bridge `{name}`")));
    let link = match find(socket)? {
        Some(link) => link,
        None => {
            make_bridge(socket, config)?;
            find(socket)?
                .ok_or_else(|| CniError::new(code::TRY_AGAIN, format!("bridge `{name}` vanished")))?
        }
    };
    if link.kind != "bridge" {
        return Err(CniError::new(code::INTERNAL, format!("`{name}` already exists but is not a bridge")));
    }
    let mut batch = Batch::new();
    if !link.up {
        batch.link_up(link.index);
    }
    if config.promiscuous && !link.promiscuous {
        batch.link_promiscuous(link.index);
    }
    for verdict in socket.run(batch).map_err(failed(format!("setting bridge `{name}`")))? {
        verdict
            .map_err(|refusal| failed(format!("setting bridge `{name}`"))(NetlinkError::Refused(refusal)))?;
    }
    Ok(link)
}

fn make_bridge(socket: &mut RouteSocket, config: &Config) -> Result<(), CniError> {
    let name = config.bridge.as_str();
    let mut mac = [0; 6];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut mac))
        .map_err(|cause| CniError::io("reading random bytes failed", &cause))?;
    mac[0] = (mac[0] & 0xfc) | 0x02;
    let mut batch = Batch::new();
    batch.add_bridge(name, mac, config.mtu);
    let verdicts = socket.run(batch).map_err(failed(format!("making bridge `{name}`")))?;
    match verdicts.into_iter().next() {
        // Another ADD was faster.
        Some(Err(refusal)) if refusal.errno == Errno::EXIST => return Ok(()),
        Some(Err(refusal)) => {
            return Err(failed(format!("making bridge `{name}`"))(NetlinkError::Refused(refusal)));
        }
        _ => {}
    }
    if sysctl::has_ipv6() {
        // Containers must not teach the host routes (CVE-2020-10749).
        for key in ["accept_ra", "accept_redirects"] {
            sysctl::write(&format!("ipv6/conf/{name}/{key}"), "0").map_err(|cause| {
                CniError::io(format!("setting `{key}` of bridge `{name}` failed"), &cause)
            })?;
        }
    }
    Ok(())
}

/// The requests that make the pair, and whether they set the bridge's port too.
fn pair(
    context: &Context<'_>,
    config: &Config,
    bridge: &Link,
    namespace: &Namespace,
    derived: &Derived,
    result: &CniResult,
) -> (Batch, bool) {
    let mut batch = Batch::new();
    batch.add_veth(&Veth {
        host_name: &derived.host_name,
        host_mac: derived.host_mac,
        bridge: bridge.index,
        namespace,
        name: &context.interface,
        mac: derived.mac,
        mtu: config.mtu,
    });
    let settings =
        PortSettings { hairpin: config.hairpin.then_some(true), isolated: config.isolated.then_some(true) };
    let settled = settings != PortSettings::default();
    if settled {
        batch.set_port(&derived.host_name, settings);
    }
    // The address may have had another owner a moment ago.
    for ip in &result.ips {
        batch.forget_neighbour(bridge.index, ip.address.addr());
    }
    (batch, settled)
}

/// Makes the pair.
pub(super) fn make_pair(
    socket: &mut RouteSocket,
    context: &Context<'_>,
    config: &Config,
    bridge: &Link,
    namespace: &Namespace,
    derived: &Derived,
    result: &CniResult,
) -> Result<(), CniError> {
    let what = format!("making interface `{}`", context.interface);
    for _ in 0..ATTEMPTS {
        let (batch, settled) = pair(context, config, bridge, namespace, derived, result);
        let mut verdicts = socket.run(batch).map_err(failed(what.clone()))?.into_iter();
        match verdicts.next() {
            Some(Err(refusal)) if refusal.errno == Errno::EXIST => {
                if super::sandbox::has_link(namespace, &context.interface)? {
                    let message = format!("container interface `{}` already exists", context.interface);
                    return Err(CniError::new(code::EXISTS, message));
                }
                // The end of an earlier life of this container, whose namespace the kernel is about to destroy.
                remove_pair(socket, &derived.host_name)?;
                continue;
            }
            Some(Err(refusal)) => return Err(failed(what)(NetlinkError::Refused(refusal))),
            _ => {}
        }
        if let Some(Err(refusal)) = verdicts.next().filter(|_| settled) {
            remove_pair(socket, &derived.host_name)?;
            return Err(failed("setting the bridge's port")(NetlinkError::Refused(refusal)));
        }
        if sysctl::has_ipv6() {
            // A bridge's port takes no part in IPv6; this is for the day that somebody takes it off the bridge.
            drop(sysctl::write(&format!("ipv6/conf/{}/accept_ra", derived.host_name), "0"));
        }
        return Ok(());
    }
    Err(CniError::new(code::TRY_AGAIN, format!("{what} failed: `{}` keeps coming back", derived.host_name)))
}

/// Removes the pair by its end on the host; says whether it was there.
pub(super) fn remove_pair(socket: &mut RouteSocket, host_name: &str) -> Result<bool, CniError> {
    let mut batch = Batch::new();
    batch.delete_link(host_name);
    done(socket, batch, format!("removing `{host_name}`"))
}

/// Shuts the bridge's port: from now on nothing passes, whatever is left behind it. Says whether the link was there.
pub(super) fn shut_port(socket: &mut RouteSocket, host_name: &str) -> Result<bool, CniError> {
    let what = format!("shutting port `{host_name}`");
    let Some(link) = socket.link(host_name).map_err(failed(what.clone()))? else { return Ok(false) };
    // The kernel may have taken it off the bridge already.
    if link.controller.is_none() {
        return Ok(true);
    }
    let mut batch = Batch::new();
    batch.shut_port(link.index);
    done(socket, batch, what)
}

fn done(socket: &mut RouteSocket, batch: Batch, what: String) -> Result<bool, CniError> {
    match socket.run(batch).map_err(failed(what.clone()))?.into_iter().next() {
        None | Some(Ok(())) => Ok(true),
        Some(Err(refusal)) if refusal.errno == Errno::NODEV => Ok(false),
        Some(Err(refusal)) => Err(failed(what)(NetlinkError::Refused(refusal))),
    }
}
