//! The `host-device` plugin: lends a link of the host to a container.
//!
//! The link is moved, gets the interface's name, and keeps its own as alias, all in one message, so that no crash leaves it
//! without a way back: DEL looks at the alias alone. A device that a driver has handed to a program in user space (DPDK) has
//! no link; for it there is nothing to move.

mod device;

use std::fs::File;
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::delegate::call_ipam;
use crate::interface::{
    Addresses, InterfaceConfig, Setup, attach, check as check_interface, detach, failed, gc, has_link,
    not_entered, status as forward_status, with_addresses,
};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, Refusal, RouteSocket};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, Version, code};
use device::Device;

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

fn first(verdicts: Vec<Result<(), Refusal>>) -> Result<(), NetlinkError> {
    verdicts.into_iter().next().unwrap_or(Ok(())).map_err(NetlinkError::Refused)
}

fn own_namespace() -> Result<File, CniError> {
    File::open("/proc/thread-self/ns/net")
        .map_err(|cause| CniError::io("opening the host's network namespace failed", &cause))
}

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
    move_in(&mut socket, &namespace, &link, name)?;
    let addresses = config.ipam_type().map_or(Addresses::None, Addresses::Plugin);
    let undo = |namespace: &Namespace| move_out(namespace, name);
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

fn move_in(socket: &mut RouteSocket, namespace: &Namespace, link: &Link, name: &str) -> Result<(), CniError> {
    let what = format!("moving device `{}` into the container", link.name);
    let mut batch = Batch::new();
    batch.move_link(link.index, namespace.as_fd(), name, &link.name);
    let moved = socket.run(batch).map_err(failed(what.clone()))?;
    first(moved).map_err(|error| {
        // It may have got there but not have got its name, when somebody else took that at this moment.
        let back = return_link(namespace, |found| found.name == link.name, Some(&link.name));
        let mut told = match error.errno() {
            Some(Errno::INVAL) => CniError::internal(
                format!("{what} failed: links of its type, or ports of another link, can't be moved"),
                &error,
            ),
            _ => failed(what)(error),
        };
        if let Err(second) = back {
            told.details = format!("{}; moving it back failed too: {second}", told.details);
        }
        told
    })
}

/// Moves the container's link of a name back to the host, if it was moved in from there.
fn move_out(namespace: &Namespace, name: &str) -> Result<(), CniError> {
    return_link(namespace, |link| link.name == name && !link.alias.is_empty(), None)
}

/// Moves a link back; its name on the host is its alias unless given.
fn return_link(
    namespace: &Namespace,
    is_meant: impl Fn(&Link) -> bool + Send,
    name: Option<&str>,
) -> Result<(), CniError> {
    let what = "moving the device back to the host";
    let host = own_namespace()?;
    let moved = namespace.run(|| {
        let mut socket = RouteSocket::open()?;
        let Some(link) = socket.links()?.into_iter().find(is_meant) else { return Ok(()) };
        let mut batch = Batch::new();
        batch.move_link(link.index, host.as_fd(), name.unwrap_or(&link.alias), "");
        first(socket.run(batch)?)
    });
    moved.map_err(|cause| not_entered(&cause))?.map_err(|error| match error.errno() {
        Some(Errno::EXIST) => {
            CniError::new(code::EXISTS, format!("{what} failed: its name is taken there")).because(&error)
        }
        _ => failed(what)(error),
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
    if context.open_namespace_if_alive()?.is_none() {
        rename_stray(context)?;
    }
    detach(context, &config, |namespace| move_out(namespace, &context.interface))
}

/// The kernel gives hardware of a namespace that ends back to the first one, but not under its old name.
fn rename_stray(context: &Context<'_>) -> Result<(), CniError> {
    let Ok(Device::Name(name)) = Device::read(context) else { return Ok(()) };
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let links = socket.links().map_err(failed("listing links"))?;
    if links.iter().any(|link| link.name == name) {
        return Ok(());
    }
    let Some(stray) = links.iter().find(|link| link.alias == name) else { return Ok(()) };
    let host = own_namespace()?;
    let mut batch = Batch::new();
    batch.link_down(stray.index).move_link(stray.index, host.as_fd(), &name, "");
    let what = format!("giving device `{name}` its name back");
    for verdict in socket.run(batch).map_err(failed(what.clone()))? {
        verdict.map_err(|refusal| failed(what.clone())(NetlinkError::Refused(refusal)))?;
    }
    Ok(())
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
