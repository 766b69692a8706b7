//! The host as a router of its containers.

use crate::protocol::CniError;
use crate::sysctl;

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
    let settings = sysctl::Directory::open("ipv6/conf")?;
    if settings.read("all/forwarding")? == "1" {
        return Ok(());
    }
    for name in settings.names()?.into_iter().filter(|name| name != "all" && name != "default") {
        let key = format!("{name}/accept_ra");
        // An interface may vanish meanwhile; others are none of our business when they can't be read.
        if settings.read(&key).is_ok_and(|value| value == "1") {
            settings.write(&key, "2").or_else(|cause| {
                if cause.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(cause) }
            })?;
        }
    }
    settings.write("all/forwarding", "1")
}
