//! firewalld: addresses as sources of a zone, over D-Bus (firewalld.dbus(5)).

use std::net::IpAddr;

use crate::bus::{Address, Bus, BusError};
use crate::protocol::{CniError, code};

const ZONES: Address = Address {
    name: "org.fedoraproject.FirewallD1",
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
};

fn connect() -> Result<Bus, CniError> {
    let bus = Bus::connect().map_err(|cause| CniError::internal("asking firewalld failed", &cause))?;
    bus.ok_or_else(|| CniError::new(code::INTERNAL, "asking firewalld failed: there is no D-Bus"))
}

fn source(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// Whether it is running.
pub(super) fn is_running() -> bool {
    let bus = Bus::connect().ok().flatten();
    bus.is_some_and(|mut bus| bus.has_owner(ZONES.name).unwrap_or_default())
}

/// Puts addresses into a zone.
pub(super) fn add(zone: &str, addresses: &[IpAddr]) -> Result<(), CniError> {
    let mut bus = connect()?;
    for address in addresses {
        let source = source(*address);
        match bus.call(&ZONES, "addSource", &[zone, &source]) {
            Err(BusError::Answer { sentence, .. }) if sentence.contains("ZONE_ALREADY_SET") => {}
            Err(cause) => {
                let message = format!("adding `{source}` to zone `{}` failed", zone.escape_default());
                return Err(CniError::internal(message, &cause));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Takes addresses out of a zone. What firewalld answers is no matter: it may have been restarted, and then forgot.
pub(super) fn remove(zone: &str, addresses: &[IpAddr]) -> Result<(), CniError> {
    let Ok(mut bus) = connect() else { return Ok(()) };
    for address in addresses {
        match bus.call(&ZONES, "removeSource", &[zone, &source(*address)]) {
            Ok(_) | Err(BusError::Answer { .. }) => {}
            Err(cause) => return Err(CniError::internal("asking firewalld failed", &cause)),
        }
    }
    Ok(())
}

/// Whether all addresses are in a zone.
pub(super) fn check(zone: &str, addresses: &[IpAddr]) -> Result<bool, CniError> {
    let mut bus = connect()?;
    for address in addresses {
        let answer = bus.call(&ZONES, "querySource", &[zone, &source(*address)]);
        let found = answer.and_then(|answer| answer.flag());
        if !found.map_err(|cause| CniError::internal("asking firewalld failed", &cause))? {
            return Ok(false);
        }
    }
    Ok(true)
}
