//! The `static` plugin: the addresses that the configuration says, and no state.
//!
//! Addresses come from `ipam.addresses`; `IP` and `GATEWAY` of `CNI_ARGS` add to them; `args.cni.ips` and the runtime's
//! capability `ips` replace all of them, the latter last.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::plugins::{Plugin, Role, nothing};
use crate::protocol::{CniError, CniResult, Context, Dns, IpConfig, Route, Version, code};

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "static",
    role: Role::Addresses,
    oldest: Version::V0_1_0,
    add,
    del: nothing,
    check,
    gc: nothing,
    status,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ipam {
    addresses: Vec<Address>,
    routes: Vec<Route>,
    dns: Option<Dns>,
}

#[derive(Debug, Deserialize)]
struct Address {
    address: String,
    #[serde(default)]
    gateway: Option<IpAddr>,
}

/// Reads an address, which must have its prefix length.
fn parse(text: &str) -> Result<IpNet, CniError> {
    let text = text.trim();
    text.parse().map_err(|_| {
        let shown = text.escape_default();
        CniError::invalid_config(format!(
            "`{shown}` is not an address with a prefix length, such as 10.0.0.2/24"
        ))
    })
}

fn read(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = &context.config;
    let ipam: Ipam = config.get(&["ipam"])?.ok_or_else(|| CniError::invalid_config("`ipam` is missing"))?;
    let mut ips = Vec::new();
    for Address { address, gateway } in ipam.addresses {
        ips.push(IpConfig { address: parse(&address)?, gateway, interface: None });
    }
    let bare =
        |text: &str| Ok::<_, CniError>(IpConfig { address: parse(text)?, gateway: None, interface: None });
    for text in listed(context.argument("IP")) {
        ips.push(bare(text)?);
    }
    for text in listed(context.argument("GATEWAY")) {
        let gateway: IpAddr = text.parse().map_err(|_| {
            CniError::invalid_config(format!("gateway `{}` is no address", text.escape_default()))
        })?;
        for ip in ips.iter_mut().filter(|ip| ip.address.contains(&gateway)) {
            ip.gateway = Some(gateway);
        }
    }
    for source in [&["args", "cni", "ips"][..], &["runtimeConfig", "ips"]] {
        let given: Vec<String> = config.get(source)?.unwrap_or_default();
        if !given.is_empty() {
            ips = given.iter().map(|text| bare(text)).collect::<Result<_, _>>()?;
        }
    }
    validate(&ips, config.version)?;
    Ok(CniResult { ips, routes: ipam.routes, dns: ipam.dns.unwrap_or_default(), ..CniResult::default() })
}

fn listed(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty())
}

fn validate(ips: &[IpConfig], version: Version) -> Result<(), CniError> {
    for (index, ip) in ips.iter().enumerate() {
        if ips[..index].iter().any(|other| other.address.addr() == ip.address.addr()) {
            return Err(CniError::invalid_config(format!("address `{}` is there twice", ip.address.addr())));
        }
        if let Some(gateway) = ip.gateway.filter(|gateway| gateway.is_ipv4() != ip.address.addr().is_ipv4()) {
            let message = format!("gateway `{gateway}` is not of the family of address `{}`", ip.address);
            return Err(CniError::invalid_config(message));
        }
    }
    let of = |four: bool| ips.iter().filter(|ip| ip.address.addr().is_ipv4() == four).count();
    if version < Version::V0_3_0 && (of(true) > 1 || of(false) > 1) {
        return Err(CniError::invalid_config(format!(
            "CNI version {version} does not support more than one address per family"
        )));
    }
    Ok(())
}

/// Gives the addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    read(context)
}

/// Verifies that the result of the ADD has the addresses.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let previous = context.config.require_previous()?;
    for ip in read(context)?.ips {
        let found = previous.ips.iter().any(|known| {
            known.address == ip.address && (ip.gateway.is_none() || known.gateway == ip.gateway)
        });
        if !found {
            let message = format!("static: failed to find address `{}` in the result of the ADD", ip.address);
            return Err(CniError::new(code::INTERNAL, message));
        }
    }
    Ok(())
}

/// Verifies that the configuration is sound.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    read(context).map(drop)
}
