//! The `macvlan` plugin: a link with a hardware address of its own on the network of another link.

use serde::Deserialize;

use crate::interface::{
    Addresses, InterfaceConfig, LinkRequest, Parent, Setup, attach, check as check_interface, detach_link,
    gc, make_link, remove_by_kind, status as forward_status, wanted_mac,
};
use crate::namespace::Namespace;
use crate::netlink::LinkKind;
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, Version, check_interface_name};

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: KIND,
    role: Role::Interface,
    oldest: Version::V0_1_0,
    add,
    del: |context| detach_link(context, KIND),
    check,
    gc,
    status,
};

const KIND: &str = "macvlan";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    master: String,
    mode: String,
    mtu: i64,
    link_in_container: bool,
    bcqueuelen: u32,
}

#[derive(Debug)]
struct Config {
    master: String,
    mode: u32,
    mtu: i64,
    link_in_container: bool,
    queue: Option<u32>,
    mac: Option<[u8; 6]>,
    interface: InterfaceConfig,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        if !keys.master.is_empty() {
            check_interface_name(&keys.master).map_err(|error| CniError::invalid_config(error.message))?;
        }
        Ok(Self {
            mode: mode(&keys.mode)?,
            master: keys.master,
            mtu: keys.mtu,
            link_in_container: keys.link_in_container,
            queue: (keys.bcqueuelen > 0).then_some(keys.bcqueuelen),
            mac: wanted_mac(context, &[&["runtimeConfig", "mac"], &[], &["mac"]])?,
            interface: InterfaceConfig::read(context)?,
        })
    }
}

/// The kernel's number of a mode (if_link.h, `MACVLAN_MODE_…`).
fn mode(text: &str) -> Result<u32, CniError> {
    Ok(match text {
        "" | "bridge" => 4,
        "private" => 1,
        "vepa" => 2,
        "passthru" => 8,
        other => {
            let message = format!("`mode` `{}` is none of macvlan's", other.escape_default());
            return Err(CniError::invalid_config(message));
        }
    })
}

/// Makes the link and gives it its addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    let parent = Parent::find(context, &namespace, &config.master, config.link_in_container)?;
    let request = LinkRequest {
        kind: LinkKind::MacVlan(config.mode, config.queue),
        mtu: parent.mtu(config.mtu)?,
        parent: Some(&parent),
        mac: config.mac,
    };
    make_link(context, &namespace, &request)?;
    let addresses = config.interface.ipam_type().map_or(Addresses::None, Addresses::Plugin);
    let undo = |namespace: &Namespace| remove_by_kind(namespace, &context.interface, KIND);
    attach(context, &namespace, &config.interface, addresses, &Setup::OPEN, undo)
}

/// Verifies the link, its mode, addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    check_interface(context, &config.interface, Some(KIND), |link| match link.mode() {
        Some(mode) if mode != config.mode => {
            Err(format!("the mode of macvlan `{}` is {mode}, not {}", link.name, config.mode))
        }
        _ => Ok(()),
    })
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context)?;
    forward_status(context)
}
