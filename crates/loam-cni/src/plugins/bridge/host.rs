//! The host's side: the bridge, and the port that is the pair's end on it.

use std::fs::File;
use std::io::{self, Read};

use rustix::io::Errno;

use super::config::Config;
use crate::interface::{self, Derived, failed, pair_alias};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, PortSettings, RouteSocket, Veth};
use crate::protocol::{CniError, CniResult, Context, code};
use crate::sysctl;

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
    batch.add_bridge(name, mac, config.mtu, config.filters_vlans());
    let verdicts = socket.run(batch).map_err(failed(format!("making bridge `{name}`")))?;
    match verdicts.into_iter().next() {
        // Another ADD was faster.
        Some(Err(refusal)) if refusal.errno == Errno::EXIST => return Ok(()),
        Some(Err(refusal)) if refusal.errno == Errno::OPNOTSUPP && config.filters_vlans() => {
            let message = "this kernel lacks bridges, or its bridges lack VLAN filtering";
            return Err(CniError::new(code::UNSUPPORTED_KERNEL, message).because(&refusal));
        }
        Some(Err(refusal)) => {
            return Err(failed(format!("making bridge `{name}`"))(NetlinkError::Refused(refusal)));
        }
        _ => {}
    }
    if let Err(cause) = close_to_routers(name) {
        // Whoever finds a bridge takes it as it is.
        let mut batch = Batch::new();
        batch.delete_link(name);
        drop(socket.run(batch));
        return Err(CniError::io(format!("closing bridge `{name}` to advertised routes failed"), &cause));
    }
    Ok(())
}

/// Containers must not teach the host routes (CVE-2020-10749).
fn close_to_routers(bridge: &str) -> io::Result<()> {
    if !sysctl::has_ipv6() {
        return Ok(());
    }
    let settings = sysctl::Directory::open(&format!("ipv6/conf/{bridge}"))?;
    settings.write("accept_ra", "0")?;
    settings.write("accept_redirects", "0")
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
    let veth = Veth {
        host_name: &derived.host_name,
        host_mac: derived.host_mac,
        bridge: Some(bridge.index),
        namespace,
        name: &context.interface,
        mac: derived.mac,
        mtu: config.mtu,
    };
    let settings =
        PortSettings { hairpin: config.hairpin.then_some(true), isolated: config.isolated.then_some(true) };
    let alias = pair_alias(super::PLUGIN.name, context);
    let settle = |batch: &mut Batch| {
        batch.set_port(&derived.host_name, settings, Some(&alias));
    };
    // The address may have had another owner a moment ago.
    let forget = |batch: &mut Batch| {
        for ip in &result.ips {
            batch.forget_neighbour(bridge.index, ip.address.addr());
        }
    };
    interface::make_pair(socket, &veth, Some(("setting the bridge's port", &settle)), &forget)
}
