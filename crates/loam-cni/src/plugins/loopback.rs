//! The `loopback` plugin: brings `lo` up.

use std::net::IpAddr;

use crate::netlink::{Batch, NetlinkError, RouteSocket};
use crate::plugins::{Plugin, Role, nothing};
use crate::protocol::{CniError, CniResult, Context, Interface, IpConfig, Version, code};

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "loopback",
    role: Role::Interface,
    oldest: Version::V0_1_0,
    add,
    del,
    check,
    gc: nothing,
    status: nothing,
};

/// The interface; the one that the runtime names is ignored.
const LOOPBACK: &str = "lo";

fn failed(cause: &NetlinkError) -> CniError {
    CniError::internal("setting `lo` failed", cause)
}

fn inside<T: Send>(
    context: &Context<'_>,
    function: impl FnOnce(&mut RouteSocket, u32) -> Result<T, CniError> + Send,
) -> Result<T, CniError> {
    let namespace = context.open_namespace()?;
    let result = namespace.run(|| {
        let mut socket = RouteSocket::open().map_err(|cause| failed(&cause))?;
        let link = socket.link(LOOPBACK).map_err(|cause| failed(&cause))?;
        let link = link.ok_or_else(|| CniError::new(code::INVALID_NAMESPACE, "there is no `lo`"))?;
        function(&mut socket, link.index)
    });
    result.map_err(|cause| {
        CniError::new(code::INVALID_NAMESPACE, "the namespace can't be entered").because(&cause)
    })?
}

fn change(socket: &mut RouteSocket, batch: Batch) -> Result<(), CniError> {
    for verdict in socket.run(batch).map_err(|cause| failed(&cause))? {
        verdict.map_err(|cause| failed(&NetlinkError::Refused(cause)))?;
    }
    Ok(())
}

/// Brings loopback up and reports its addresses, or passes the result of the plugins before on.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let addresses = inside(context, |socket, index| {
        let mut batch = Batch::new();
        batch.link_up(index);
        change(socket, batch)?;
        socket.addresses(Some(index)).map_err(|cause| failed(&cause))
    })?;
    if let Some(previous) = &context.config.previous {
        return Ok(previous.clone());
    }
    let is_loopback = |address: IpAddr| address.is_loopback();
    if let Some(odd) = addresses.iter().find(|address| !is_loopback(address.net.addr())) {
        let message = format!("loopback interface is configured with non-loopback address `{}`", odd.net);
        return Err(CniError::new(code::INTERNAL, message));
    }
    Ok(CniResult {
        interfaces: vec![Interface {
            name: LOOPBACK.into(),
            mac: "00:00:00:00:00:00".into(),
            sandbox: context.namespace_path()?.display().to_string(),
            ..Interface::default()
        }],
        ips: addresses
            .iter()
            .map(|address| IpConfig { address: address.net, gateway: None, interface: Some(0) })
            .collect(),
        ..CniResult::default()
    })
}

/// Takes loopback down.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    if context.open_namespace_if_alive()?.is_none() {
        return Ok(());
    }
    inside(context, |socket, index| {
        let mut batch = Batch::new();
        batch.link_down(index);
        change(socket, batch)
    })
}

/// Verifies that loopback is up.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let up = inside(context, |socket, index| {
        let link = socket.link_by_index(index).map_err(|cause| failed(&cause))?;
        Ok(link.is_some_and(|link| link.up))
    })?;
    if up { Ok(()) } else { Err(CniError::new(code::INTERNAL, "loopback interface is down")) }
}
