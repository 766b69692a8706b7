//! The `tuning` plugin: kernel settings and properties of a container's interface.
//!
//! What the interface was is kept ([`saved`]) and restored by DEL; kernel settings end with the namespace. A setting
//! that fails undoes those before it.

mod allowlist;
mod config;
mod saved;
mod sysctl_key;

use std::path::Path;

use crate::netlink::{Batch, Link, RouteSocket, Setting};
use crate::plugins::kernel::{find_link, inside, require_link, run};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, Version, code};
use config::Config;
use saved::Saved;

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "tuning", role: Role::Chained, oldest: Version::V0_1_0, add, del, check, gc, status };

/// Tunes.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    allowlist::verify(Path::new(allowlist::PATH), config.sysctl.keys())?;
    let mut result = context.config.require_previous()?.clone();
    let path = saved::path(context)?;
    let namespace = context.open_namespace()?;
    inside(&namespace, |socket| {
        let old = set_sysctls(&config, &context.interface)?;
        tune(socket, context, &config, &path).inspect_err(|_| restore_sysctls(&old, &context.interface))
    })?;
    for interface in result.interfaces.iter_mut().filter(|found| found.name == context.interface) {
        if let Some(mac) = config.mac {
            interface.mac = crate::netlink::mac_text(&mac);
        }
        interface.mtu = interface.mtu.map(|mtu| config.mtu.unwrap_or(mtu));
    }
    Ok(result)
}

/// Writes the kernel settings; gives those that were, and undoes those before one that fails.
fn set_sysctls(config: &Config, interface: &str) -> Result<Vec<(String, String)>, CniError> {
    let mut old = Vec::new();
    for (key, value) in &config.sysctl {
        let was = sysctl_key::read(key, interface);
        match sysctl_key::write(key, interface, value) {
            // Some can only be written.
            Ok(()) => old.extend(was.ok().map(|was| (key.clone(), was))),
            Err(error) => {
                restore_sysctls(&old, interface);
                return Err(error);
            }
        }
    }
    Ok(old)
}

fn restore_sysctls(old: &[(String, String)], interface: &str) {
    for (key, value) in old.iter().rev() {
        // The error that is told is the one that led here.
        drop(sysctl_key::write(key, interface, value));
    }
}

/// Changes the link.
fn tune(
    socket: &mut RouteSocket,
    context: &Context<'_>,
    config: &Config,
    path: &Path,
) -> Result<(), CniError> {
    let settings = config.settings();
    if settings.is_empty() {
        return Ok(());
    }
    let link = require_link(socket, &context.interface)?;
    let saved = Saved::of(&link, config, &context.config.name);
    saved::keep(path, saved.clone())?;
    let mut batch = Batch::new();
    let mut steps = Vec::new();
    for (key, setting) in settings {
        batch.set(link.index, setting);
        steps.push(format!("setting `{key}` of `{}`", link.name));
    }
    run(socket, batch, steps).inspect_err(|_| {
        restore(socket, &link, &saved);
        // The error that is told is the one that led here.
        drop(saved::forget(path));
    })
}

/// Makes a link what it was, as far as it can be done.
fn restore(socket: &mut RouteSocket, link: &Link, saved: &Saved) {
    let mut batch = Batch::new();
    for setting in saved.settings() {
        batch.set(link.index, setting);
    }
    drop(socket.run(batch));
}

/// Makes the interface what it was, if it is still there; always succeeds, as the reference plugin's DEL does, whose
/// interface is about to be removed.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let path = saved::path(context)?;
    if let (Ok(Some(saved)), Ok(Some(namespace))) = (saved::load(&path), context.open_namespace_if_alive()) {
        let restored = inside(&namespace, |socket| {
            if let Some(link) = find_link(socket, &context.interface)? {
                restore(socket, &link, &saved);
            }
            Ok(())
        });
        drop(restored);
    }
    saved::forget(&path)
}

/// Verifies that everything is as it was set.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    context.config.require_previous()?;
    let name = &context.interface;
    inside(&context.open_namespace()?, |socket| {
        for (key, wanted) in &config.sysctl {
            let found = sysctl_key::read(key, name)?;
            if !sysctl_key::same(&found, wanted) {
                let (key, wanted) = (key.escape_default(), wanted.escape_default());
                return Err(wrong(format!("kernel setting `{key}` is `{found}`, not `{wanted}`")));
            }
        }
        let link = require_link(socket, name)?;
        // The reference plugin wants it off when it is not configured.
        let promiscuous = ("promisc", Setting::Promiscuous(config.promiscuous));
        let wanted = config.settings().into_iter().filter(|(key, _)| *key != promiscuous.0);
        for (key, setting) in wanted.chain([promiscuous]) {
            if !is_set(&link, setting) {
                return Err(wrong(format!("`{key}` of `{name}` is not as configured")));
            }
        }
        Ok(())
    })
}

fn wrong(message: String) -> CniError {
    CniError::new(code::INTERNAL, message)
}

fn is_set(link: &Link, setting: Setting) -> bool {
    match setting {
        Setting::Mac(mac) => link.mac == mac,
        Setting::Promiscuous(on) => link.promiscuous == on,
        Setting::Mtu(mtu) => link.mtu == mtu,
        Setting::AllMulticast(on) => link.all_multicast == on,
        Setting::QueueLength(length) => link.queue_length == length,
        Setting::Controller(controller) => link.controller.unwrap_or_default() == controller,
    }
}

/// Forgets what was kept for attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    saved::sweep(context)
}

/// Verifies the configuration.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context).map(drop)
}
