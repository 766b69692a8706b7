//! The `vrf` plugin: puts a container's interface into a VRF, which gives its members a routing table of their own.
//!
//! The VRF is a link in the container's namespace, made with its first member and removed with its last. An interface
//! that becomes a member loses its IPv6 addresses and its routes; both are put back, the routes into the VRF's table.

use std::time::{Duration, Instant};

use crate::netlink::{Address, AddressOptions, Batch, Link, RouteSocket, Setting, StoredRoute};
use crate::plugins::kernel::{failed, find_link, inside, require_link, run};
use crate::plugins::{Plugin, Role, nothing};
use crate::protocol::{CniError, CniResult, Context, Version, check_interface_name, code};

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "vrf",
    role: Role::Chained,
    oldest: Version::V0_3_1,
    add,
    del,
    check,
    gc: nothing,
    status,
};

/// How long the kernel may take to make the routes of an address.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How long to wait before looking again.
const INTERVAL: Duration = Duration::from_millis(5);

/// The configuration.
struct Config {
    name: String,
    /// The routing table; the lowest that no VRF has when absent.
    table: Option<u32>,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let name: String = context.config.get(&["vrfname"])?.unwrap_or_default();
        if name.is_empty() {
            return Err(CniError::invalid_config("configuration is expected to have a valid vrf name"));
        }
        check_interface_name(&name).map_err(|error| {
            CniError::invalid_config(format!("`vrfname` `{}` is invalid", name.escape_default()))
                .because(&error)
        })?;
        let table: u32 = context.config.get(&["table"])?.unwrap_or_default();
        Ok(Self { name, table: (table != 0).then_some(table) })
    }
}

fn wrong(message: String) -> CniError {
    CniError::new(code::INTERNAL, message)
}

/// Finds the VRF; `None` when there is no link of the name.
fn find(socket: &mut RouteSocket, name: &str) -> Result<Option<(Link, u32)>, CniError> {
    let Some(link) = find_link(socket, name)? else { return Ok(None) };
    match link.vrf_table() {
        Some(table) => Ok(Some((link, table))),
        None => Err(wrong(format!("`{name}` is not a VRF"))),
    }
}

/// Makes the interface a member.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let previous = context.config.require_previous()?.clone();
    inside(&context.open_namespace()?, |socket| {
        let link = require_link(socket, &context.interface)?;
        if let Some(controller) = link.controller {
            let name = socket.link_by_index(controller).map_err(failed("looking up a link"))?;
            let name = name.map_or_else(|| controller.to_string(), |link| link.name);
            return Err(wrong(format!("interface `{}` has already a master set: `{name}`", link.name)));
        }
        let found = find(socket, &config.name)?;
        let made = found.is_none();
        let (vrf, table) = match found {
            Some((_, table)) if config.table.is_some_and(|wanted| wanted != table) => {
                let name = &config.name;
                return Err(wrong(format!(
                    "VRF `{name}` already exists with different routing table {table}"
                )));
            }
            Some(found) => found,
            None => make(socket, &config)?,
        };
        let joined = join(socket, &link, &vrf, table);
        if joined.is_err() {
            let mut undo = Batch::new();
            undo.set(link.index, Setting::Controller(0));
            if made {
                undo.delete_link(&vrf.name);
            }
            // The error that is told is the one that led here.
            drop(socket.run(undo));
        }
        joined
    })?;
    Ok(previous)
}

fn make(socket: &mut RouteSocket, config: &Config) -> Result<(Link, u32), CniError> {
    let name = &config.name;
    let links = socket.links().map_err(failed("listing links"))?;
    let is_free = |table: &u32| links.iter().all(|link| link.vrf_table() != Some(*table));
    let table = config.table.or_else(|| (1..u32::MAX).find(is_free));
    let table = table.ok_or_else(|| wrong("no routing table is free".into()))?;
    let mut batch = Batch::new();
    batch.add_vrf(name, table);
    run(socket, batch, vec![format!("making VRF `{name}`")])?;
    find(socket, name)?.ok_or_else(|| CniError::new(code::TRY_AGAIN, format!("VRF `{name}` vanished")))
}

fn global_ipv6(socket: &mut RouteSocket, link: &Link) -> Result<Vec<Address>, CniError> {
    let mut found = socket.addresses(Some(link.index)).map_err(failed("listing addresses"))?;
    found.retain(|address| address.global && address.net.addr().is_ipv6());
    Ok(found)
}

/// Makes a link a member, and puts back what it loses by that.
fn join(socket: &mut RouteSocket, link: &Link, vrf: &Link, table: u32) -> Result<(), CniError> {
    let addresses = global_ipv6(socket, link)?;
    let mut routes = socket.stored_routes(link.index).map_err(failed("listing routes"))?;
    // Those of addresses the kernel makes itself. Gateways are found by those to neighbours.
    routes.retain(|route| !route.is_of_the_kernel());
    routes.sort_by_key(|route| route.gateway().is_some());
    let mut batch = Batch::new();
    batch.set(link.index, Setting::Controller(vrf.index));
    run(socket, batch, vec![format!("making `{}` a member of VRF `{}`", link.name, vrf.name)])?;
    let kept = global_ipv6(socket, link)?;
    let (mut batch, mut steps) = (Batch::new(), Vec::new());
    for address in addresses.iter().filter(|address| !kept.iter().any(|kept| kept.net == address.net)) {
        batch.add_address(link.index, address.net, AddressOptions::default());
        steps.push(format!("restoring address `{}`", address.net));
    }
    if !steps.is_empty() {
        run(socket, batch, steps)?;
        wait_for_addresses(socket, link)?;
    }
    restore_routes(socket, &routes, table)
}

/// Waits until the kernel has done with new addresses, which it does on its own time.
fn wait_for_addresses(socket: &mut RouteSocket, link: &Link) -> Result<(), CniError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Some(slow) = global_ipv6(socket, link)?.into_iter().find(|address| address.tentative) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(wrong(format!("address `{}` on `{}` is still tentative", slow.net, link.name)));
        }
        std::thread::sleep(INTERVAL);
    }
}

fn restore_routes(socket: &mut RouteSocket, routes: &[StoredRoute], table: u32) -> Result<(), CniError> {
    let (mut batch, mut steps) = (Batch::new(), Vec::new());
    for route in routes {
        batch.replace_route(&route.in_table(table));
        steps.push(format!("restoring a route in table {table}"));
    }
    run(socket, batch, steps)
}

/// The members of a VRF.
fn members(socket: &mut RouteSocket, vrf: &Link) -> Result<Vec<Link>, CniError> {
    let mut links = socket.links().map_err(failed("listing links"))?;
    links.retain(|link| link.controller == Some(vrf.index));
    Ok(links)
}

/// Takes the interface out, and removes the VRF with its last member.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let Some(namespace) = context.open_namespace_if_alive()? else { return Ok(()) };
    inside(&namespace, |socket| {
        let Some((vrf, _)) = find(socket, &config.name)? else { return Ok(()) };
        let link = find_link(socket, &context.interface)?;
        if let Some(link) = link.filter(|link| link.controller == Some(vrf.index)) {
            let mut batch = Batch::new();
            batch.set(link.index, Setting::Controller(0));
            run(socket, batch, vec![format!("taking `{}` out of VRF `{}`", link.name, vrf.name)])?;
        }
        if !members(socket, &vrf)?.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.delete_link(&vrf.name);
        run(socket, batch, vec![format!("removing VRF `{}`", vrf.name)])
    })
}

/// Verifies that the interface is a member.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    context.config.require_previous()?;
    inside(&context.open_namespace()?, |socket| {
        let name = &config.name;
        let (vrf, _) = find(socket, name)?.ok_or_else(|| wrong(format!("VRF `{name}` does not exist")))?;
        if members(socket, &vrf)?.iter().any(|link| link.name == context.interface) {
            return Ok(());
        }
        Err(wrong(format!("failed to find `{}` associated to VRF `{name}`", context.interface)))
    })
}

/// Verifies the configuration.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context).map(drop)
}
