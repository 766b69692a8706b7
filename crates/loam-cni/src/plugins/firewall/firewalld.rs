//! firewalld: addresses as sources of a zone, over D-Bus (firewalld.dbus(5)).

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use loam_bus::{Address, Body, Bus, BusError, SYSTEM_BUS};

use crate::protocol::{CniError, code};

/// How long a whole conversation may take.
const PATIENCE: Duration = Duration::from_secs(25);

const ZONES: Address<'static> = Address {
    name: "org.fedoraproject.FirewallD1",
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
};

fn connect() -> Result<Bus, CniError> {
    Bus::connect(Path::new(SYSTEM_BUS), PATIENCE).map_err(|cause| {
        if cause.is_absence() {
            CniError::new(code::INTERNAL, "asking firewalld failed: there is no D-Bus")
        } else {
            CniError::internal("asking firewalld failed", &cause)
        }
    })
}

fn values(zone: &str, address: IpAddr) -> Body {
    Body::default().text(zone).text(&source(address))
}

fn source(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

/// Whether it is running.
pub(super) fn is_running() -> bool {
    connect().is_ok_and(|mut bus| bus.has_owner(ZONES.name).unwrap_or_default())
}

/// Puts addresses into a zone.
pub(super) fn add(zone: &str, addresses: &[IpAddr]) -> Result<(), CniError> {
    let mut bus = connect()?;
    for address in addresses {
        match bus.call(&ZONES, "addSource", &values(zone, *address)) {
            Err(BusError::Answer { sentence, .. }) if sentence.contains("ZONE_ALREADY_SET") => {}
            Err(cause) => {
                let source = source(*address);
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
        match bus.call(&ZONES, "removeSource", &values(zone, *address)) {
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
        let answer = bus.call(&ZONES, "querySource", &values(zone, *address));
        let found = answer.and_then(|answer| answer.values().flag());
        if !found.map_err(|cause| CniError::internal("asking firewalld failed", &cause))? {
            return Ok(false);
        }
    }
    Ok(true)
}
