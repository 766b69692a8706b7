//! The `host-device` plugin: lends a link of the host to a container.
//!
//! What is lent is written down where the container can't reach it ([`lent`]), before the link is moved and gets the
//! interface's name in one message, so that no crash leaves it without a way back. A device that a driver has handed to a
//! program in user space (DPDK) has no link; for it there is nothing to move.

mod device;
mod lent;
mod moving;

use crate::delegate::call_ipam;
use crate::interface::{
    Addresses, InterfaceConfig, Setup, attach, check as check_interface, detach, failed, gc as forward_gc,
    has_link, status as forward_status, with_addresses,
};
use crate::namespace::Namespace;
use crate::netlink::RouteSocket;
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, Version, code};
use device::Device;
use lent::Lent;
use moving::move_in;

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "host-device",
    role: Role::Interface,
    oldest: Version::V0_1_0,
    add,
    del,
    check,
    gc,
    status,
};

/// Moves the link into the container and gives it addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let device = Device::read(context)?;
    let config = InterfaceConfig::read(context)?;
    let namespace = context.open_namespace()?;
    if device.is_in_user_space() {
        return add_in_user_space(context, &config);
    }
    let name = context.interface.as_str();
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let link = device.find(&mut socket)?;
    if has_link(&namespace, name)? {
        let message = format!("container interface `{name}` already exists");
        return Err(CniError::new(code::EXISTS, message));
    }
    let lent = Lent::new(context, &link);
    lent.keep(context)?;
    if let Err(error) = move_in(&mut socket, &namespace, &link, name) {
        Lent::forget(context, &context.owner())?;
        return Err(error);
    }
    let undo = |namespace: &Namespace| {
        lent.move_out(namespace, name)?;
        Lent::forget(context, &context.owner())
    };
    if let Err(error) = lent.clone().keep_index(context, &namespace) {
        undo(&namespace)?;
        return Err(error);
    }
    let addresses = config.ipam_type().map_or(Addresses::None, Addresses::Plugin);
    attach(context, &namespace, &config, addresses, &Setup::OPEN, undo)
}

/// A device without a link gets addresses all the same, which its program shall use.
fn add_in_user_space(context: &Context<'_>, config: &InterfaceConfig) -> Result<CniResult, CniError> {
    let sandbox = context.namespace_path()?.display().to_string();
    with_addresses(context, config.ipam_type(), |mut result| {
        result.ips.iter_mut().for_each(|ip| ip.interface = Some(0));
        result.interfaces =
            vec![Interface { name: context.interface.clone(), sandbox, ..Interface::default() }];
        config.apply_dns(&mut result);
        Ok(result)
    })
}

/// Moves the link back under its old name and gives the addresses back.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = InterfaceConfig::read(context)?;
    if Device::read(context).is_ok_and(|device| device.is_in_user_space()) {
        return match config.ipam_type() {
            Some(ipam) => call_ipam(context, ipam, Command::Del).map(drop),
            None => Ok(()),
        };
    }
    let lent = Lent::of(context)?;
    let mut is_back = true;
    if let Some(lent) = &lent
        && context.open_namespace_if_alive()?.is_none()
    {
        is_back = lent.rename_returned()?;
    }
    detach(context, &config, |namespace| {
        lent.as_ref().map_or(Ok(()), |lent| lent.move_out(namespace, &context.interface))
    })?;
    // Hardware may still be on its way back: then GC gives it its name.
    match lent {
        Some(lent) if !is_back && lent.is_hardware() => Ok(()),
        _ => Lent::forget(context, &context.owner()),
    }
}

/// Gives returned devices their names back, and the addresses of all attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    Lent::collect(context)?;
    forward_gc(context)
}

/// Verifies the link, its addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = InterfaceConfig::read(context)?;
    if !Device::read(context)?.is_in_user_space() {
        return check_interface(context, &config, None, |_| Ok(()));
    }
    match config.ipam_type() {
        Some(ipam) => call_ipam(context, ipam, Command::Check).map(drop),
        None => Ok(()),
    }
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Device::read(context)?;
    forward_status(context)
}
