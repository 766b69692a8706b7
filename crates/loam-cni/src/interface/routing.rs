//! The host as a router of its containers: forwarding and masquerade.

use crate::firewall::{Firewall, NetworkRecord};
use crate::protocol::{CniError, CniResult, Context};
use crate::sysctl;

/// Refuses a backend that we don't have for masquerading.
pub(crate) fn check_masquerade_backend(backend: Option<&str>) -> Result<(), CniError> {
    match backend {
        None | Some("" | "nftables") => Ok(()),
        Some(other) => Err(CniError::unsupported_field("ipMasqBackend", other.escape_default())),
    }
}

/// Masquerades what the network's containers send to the outside, on nftables.
pub(crate) fn masquerade(context: &Context<'_>, result: &CniResult) -> Result<(), CniError> {
    let record = NetworkRecord { sources: result.ips.iter().map(|ip| ip.address.trunc()).collect() };
    Firewall::open(context.host)
        .and_then(|mut firewall| firewall.masquerade(&context.config.name, &record))
        .map_err(|cause| CniError::internal("masquerading failed", &cause))
}

/// Lets the host forward IPv4, IPv6, or both.
pub(crate) fn forward(ipv4: bool, ipv6: bool) -> Result<(), CniError> {
    if ipv4 {
        sysctl::ensure("ipv4/ip_forward", "1")
            .map_err(|cause| CniError::io("enabling forwarding failed", &cause))?;
    }
    if ipv6 {
        forward_ipv6().map_err(|cause| CniError::io("enabling IPv6 forwarding failed", &cause))?;
    }
    Ok(())
}

/// Lets the host forward IPv6. A host that forwards stops listening to router advertisements, which may be where it
/// has its own route from, unless told to go on (kernel documentation, ip-sysctl, `accept_ra`).
fn forward_ipv6() -> std::io::Result<()> {
    const FORWARDING: &str = "ipv6/conf/all/forwarding";
    if sysctl::read(FORWARDING)? == "1" {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/sys/net/ipv6/conf")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| *name != "all" && *name != "default") else { continue };
        let key = format!("ipv6/conf/{name}/accept_ra");
        // An interface may vanish meanwhile; others are none of our business when they can't be read.
        if sysctl::read(&key).is_ok_and(|value| value == "1") {
            sysctl::write(&key, "2").or_else(|cause| {
                if cause.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(cause) }
            })?;
        }
    }
    sysctl::write(FORWARDING, "1")
}
