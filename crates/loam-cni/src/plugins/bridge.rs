//! The `bridge` plugin: a veth pair between a namespace and a bridge of the host.
//!
//! ADD is two rows of netlink messages and no waiting: one on the host makes the pair, its one end up and on the
//! bridge, its other made inside the namespace; one in the namespace sets addresses, links and routes. Addresses come
//! first, from the address plugin, and rules before links are up, so that nothing passes unguarded.
//!
//! The name of the host's end follows from container id and interface, so that DEL finds it without any record.
//! A namespace that is gone takes the pair with it, but not at once. So that the address can be given back at once
//! all the same, DEL first shuts the bridge's port, which takes effect immediately; then it removes the link, which
//! waits for the kernel's grace periods, or with [`Host::leave_dying_links`] leaves that to the kernel. For the case
//! that somebody keeps the namespace, its link is noted:
//!
//! ```text
//! STATE_DIRECTORY/dying-links/NAME   empty; a later ADD removes a link that is still there after some seconds
//! ```
//!
//! [`Host::leave_dying_links`]: crate::Host::leave_dying_links

mod check;
mod config;
mod dying;
mod gateway;
mod host;
mod sandbox;

use sha2::{Digest, Sha256};

use crate::delegate::call_ipam;
use crate::masquerade;
use crate::namespace::NamespaceError;
use crate::netlink::{Link, NetlinkError, RouteSocket};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, Version, code};
use check::check;
use config::Config;

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "bridge", role: Role::Interface, oldest: Version::V0_1_0, add, del, check, gc, status };

fn failed(what: impl Into<String>) -> impl FnOnce(NetlinkError) -> CniError {
    let what = what.into();
    move |cause| match cause.errno() {
        Some(rustix::io::Errno::OPNOTSUPP) => {
            CniError::new(code::UNSUPPORTED_KERNEL, format!("{what} failed: this kernel lacks the link type"))
                .because(&cause)
        }
        _ => CniError::internal(format!("{what} failed"), &cause),
    }
}

fn not_entered(cause: &NamespaceError) -> CniError {
    CniError::new(code::INVALID_NAMESPACE, "the network namespace can't be entered").because(cause)
}

/// What follows from container id and interface: the name of the host's end, and both hardware addresses.
///
/// Addresses that are set when a link is made are left alone by device managers, which else change them later.
struct Derived {
    host_name: String,
    host_mac: [u8; 6],
    mac: [u8; 6],
}

impl Derived {
    fn new(container_id: &str, interface: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(container_id.as_bytes());
        hash.update([0]);
        hash.update(interface.as_bytes());
        let hash = hash.finalize();
        let digits: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let mac = |at: usize| {
            let mut mac = [0; 6];
            mac.copy_from_slice(&hash[at..at + 6]);
            // Locally administered, not a group (IEEE 802, clause 8.4).
            mac[0] = (mac[0] & 0xfc) | 0x02;
            mac
        };
        Self { host_name: format!("veth{}", &digits[..11]), host_mac: mac(8), mac: mac(16) }
    }

    /// Whether a name is of the form that this plugin gives.
    fn is_host_name(name: &str) -> bool {
        let digits = name.strip_prefix("veth").unwrap_or_default();
        digits.len() == 11 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// Attaches a namespace to the bridge.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    let addresses = match &config.ipam_type {
        None => CniResult::default(),
        Some(kind) => call_ipam(context, kind, Command::Add)?.unwrap_or_default(),
    };
    let result = attach(context, &config, &namespace, addresses);
    if let (Err(error), Some(kind)) = (&result, &config.ipam_type)
        && let Err(second) = call_ipam(context, kind, Command::Del)
    {
        let mut error = error.clone();
        error.details = format!("{}; giving the address back failed too: {second}", error.details);
        return Err(error);
    }
    result
}

fn attach(
    context: &Context<'_>,
    config: &Config,
    namespace: &crate::namespace::Namespace,
    mut result: CniResult,
) -> Result<CniResult, CniError> {
    if config.ipam_type.is_some() && result.ips.is_empty() {
        return Err(CniError::invalid_config("IPAM plugin returned missing IP config"));
    }
    gateway::complete(config, &mut result)?;
    for ip in &mut result.ips {
        ip.interface = Some(2);
    }
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let bridge = host::ensure_bridge(&mut socket, config)?;
    if let Some(backend) = config.masquerade {
        masquerade::set(context, backend, &addresses(&result))?;
    }
    if config.is_gateway {
        gateway::serve(&mut socket, &bridge, config, &result)?;
    }
    let mut derived = Derived::new(&context.container_id, &context.interface);
    derived.mac = config.mac.unwrap_or(derived.mac);
    dying::forget(context.host, &derived.host_name);
    host::make_pair(&mut socket, context, config, &bridge, namespace, &derived, &result)?;
    let link = match sandbox::configure(context, config, namespace, &result) {
        Ok(link) => link,
        Err(error) => {
            host::remove_pair(&mut socket, &derived.host_name)?;
            return Err(error);
        }
    };
    result.interfaces = interfaces(context, bridge, derived, &link)?;
    if !config.dns.is_empty() {
        result.dns = config.dns.clone();
    }
    dying::sweep(&mut socket, context.host);
    Ok(result)
}

fn addresses(result: &CniResult) -> Vec<ipnet::IpNet> {
    result.ips.iter().map(|ip| ip.address).collect()
}

/// The result's interfaces: the bridge, the end on the host, the end in the namespace.
fn interfaces(
    context: &Context<'_>,
    bridge: Link,
    derived: Derived,
    link: &Link,
) -> Result<Vec<Interface>, CniError> {
    let bridge = Interface {
        mac: bridge.mac_text(),
        mtu: Some(bridge.mtu),
        name: bridge.name,
        ..Interface::default()
    };
    let host_end = Interface {
        name: derived.host_name,
        mac: crate::netlink::mac_text(&derived.host_mac),
        mtu: Some(link.mtu),
        ..Interface::default()
    };
    let container_end = Interface {
        name: context.interface.clone(),
        mac: link.mac_text(),
        mtu: Some(link.mtu),
        sandbox: context.namespace_path()?.display().to_string(),
        ..Interface::default()
    };
    Ok(vec![bridge, host_end, container_end])
}

/// Removes the attachment; success when there is nothing.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let derived = Derived::new(&context.container_id, &context.interface);
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let namespace = context.open_namespace_if_alive()?;
    match namespace {
        Some(namespace) => {
            let known = context.config.previous.as_ref().and_then(|previous| {
                let mut ends = previous.interfaces.iter().filter(|end| !end.sandbox.is_empty());
                ends.find(|end| end.name == context.interface).map(|end| end.mac.as_str())
            });
            if !host::remove_pair(&mut socket, &derived.host_name)?
                && let Some(mac) = known
            {
                sandbox::remove(&namespace, &context.interface, mac)?;
            }
        }
        None if context.host.leave_dying_links => {
            if host::shut_port(&mut socket, &derived.host_name)? {
                dying::note(context.host, &derived.host_name)?;
            }
        }
        None => {
            host::shut_port(&mut socket, &derived.host_name)?;
            host::remove_pair(&mut socket, &derived.host_name)?;
        }
    }
    if let Some(backend) = config.masquerade {
        masquerade::remove(context, backend)?;
    }
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Del).map(drop),
        None => Ok(()),
    }
}

/// Removes the bridge's ports, and the addresses, of all attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let valid: Vec<String> = context
        .config
        .valid_attachments()?
        .iter()
        .map(|known| Derived::new(&known.container_id, &known.ifname).host_name)
        .collect();
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let links = socket.links().map_err(failed("listing links"))?;
    let bridge = links.iter().find(|link| link.name == config.bridge).map(|link| link.index);
    for link in links.iter().filter(|link| bridge.is_some() && link.controller == bridge) {
        if link.kind == "veth" && Derived::is_host_name(&link.name) && !valid.contains(&link.name) {
            host::remove_pair(&mut socket, &link.name)?;
        }
    }
    if let Some(backend) = config.masquerade {
        masquerade::collect(context, backend)?;
    }
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Gc).map(drop),
        None => Ok(()),
    }
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Status).map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_attachment() {
        let one = Derived::new("abc", "eth0");
        let two = Derived::new("abc", "eth1");
        assert_eq!(one.host_name.len(), 15);
        assert_ne!(one.host_name, two.host_name);
        assert_ne!(Derived::new("abce", "th0").host_name, one.host_name);
        assert_eq!(one.mac[0] & 3, 2);
        assert!(Derived::is_host_name(&one.host_name));
        for other in ["veth0", "vethABCDEF01234", "br0", "veth0123456789g"] {
            assert!(!Derived::is_host_name(other), "{other}");
        }
    }
}
