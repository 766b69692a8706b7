//! The `sbr` plugin: source based routing. What a container sends from an interface's address leaves by that interface.
//!
//! Each address gets a routing table, and a rule that has packets from the address looked up there; the interface's
//! routes are moved into it. All of it is in the namespace and ends with it. Several attachments of one container may
//! be made at once: a lock on the namespace's file, which the reference plugin takes too, keeps their tables apart.

mod plan;

use std::net::IpAddr;
use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, flock};

use crate::netlink::{Batch, RouteSocket};
use crate::plugins::kernel::{failed, find_link, inside, require_link, run};
use crate::plugins::{Plugin, Role, nothing};
use crate::protocol::{CniError, CniResult, Context, IpConfig, Version, code};
use plan::Plan;

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "sbr",
    role: Role::Chained,
    oldest: Version::V0_1_0,
    add,
    del,
    check,
    gc: nothing,
    status,
};

/// The configuration.
#[derive(Debug, Default)]
struct Config {
    /// The table that all rules lead to, with routes that somebody else sets.
    table: Option<u32>,
    gateways: Vec<IpAddr>,
    source_hints: bool,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let config = &context.config;
        let mut gateways: Vec<IpAddr> = Vec::new();
        for text in config.get::<Vec<String>>(&["gateways"])?.unwrap_or_default() {
            let gateway: IpAddr = text.parse().map_err(|_| {
                CniError::invalid_config(format!("`gateways`: `{}` is no address", text.escape_default()))
            })?;
            if let Some(other) = gateways.iter().find(|other| other.is_ipv4() == gateway.is_ipv4()) {
                let message = format!("`gateways`: {other} and {gateway} are of one family");
                return Err(CniError::invalid_config(message));
            }
            gateways.push(gateway);
        }
        Ok(Self {
            table: config.get(&["table"])?,
            gateways,
            source_hints: config.get(&["addSourceHints"])?.unwrap_or_default(),
        })
    }
}

/// The addresses on the interface; those whose interface is not known are taken for such.
fn addresses<'a>(context: &Context<'_>, result: &'a CniResult) -> Result<Vec<&'a IpConfig>, CniError> {
    if result.ips.is_empty() {
        let message = format!("no IP addresses supplied on interface `{}`", context.interface);
        return Err(CniError::invalid_config(message));
    }
    let is_other = |ip: &&IpConfig| {
        let interface = ip.interface_index().and_then(|index| result.interfaces.get(index));
        interface.is_some_and(|found| found.name != context.interface)
    };
    Ok(result.ips.iter().filter(|ip| !is_other(ip)).collect())
}

/// Makes rules and tables.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?.clone();
    let addresses = addresses(context, &previous)?;
    let namespace = context.open_namespace()?;
    // Held until the namespace's file is closed.
    flock(namespace.as_fd(), FlockOperation::LockExclusive)
        .map_err(|cause| CniError::io("locking the network namespace failed", &cause))?;
    inside(&namespace, |socket| {
        let link = require_link(socket, &context.interface)?;
        let plan = match config.table {
            Some(table) => Plan::rules_only(&addresses, table),
            None => Plan::new(socket, &config, &addresses, link.index)?,
        };
        plan.carry_out(socket)
    })?;
    Ok(previous)
}

/// Removes the rules for the interface's addresses.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let table: Option<u32> = context.config.get(&["table"])?;
    let Some(namespace) = context.open_namespace_if_alive()? else { return Ok(()) };
    flock(namespace.as_fd(), FlockOperation::LockExclusive)
        .map_err(|cause| CniError::io("locking the network namespace failed", &cause))?;
    inside(&namespace, |socket| {
        let Some(link) = find_link(socket, &context.interface)? else { return Ok(()) };
        let addresses = socket.addresses(Some(link.index)).map_err(failed("listing addresses"))?;
        let (mut batch, mut steps) = (Batch::new(), Vec::new());
        for rule in socket.rules().map_err(failed("listing routing rules"))? {
            let Some(source) = rule.source.filter(|_| table.is_none_or(|table| table == rule.table)) else {
                continue;
            };
            if addresses.iter().any(|address| address.net.addr() == source) {
                batch.delete_rule(source, rule.table);
                steps.push(format!("removing the routing rule for `{source}`"));
            }
        }
        run(socket, batch, steps)
    })
}

/// Verifies that there is a rule for each address.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?;
    let addresses = addresses(context, previous)?;
    let rules = inside(&context.open_namespace()?, |socket: &mut RouteSocket| {
        socket.rules().map_err(failed("listing routing rules"))
    })?;
    for ip in addresses {
        let source = ip.address.addr();
        let fits = |table: u32| config.table.is_none_or(|wanted| wanted == table);
        if !rules.iter().any(|rule| rule.source == Some(source) && fits(rule.table)) {
            let message = format!("there is no routing rule for `{source}`");
            return Err(CniError::new(code::INTERNAL, message));
        }
    }
    Ok(())
}

/// Verifies the configuration.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context).map(drop)
}
