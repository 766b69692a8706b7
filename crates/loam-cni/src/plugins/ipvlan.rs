//! The `ipvlan` plugin: a link that shares the hardware address of another link.
//!
//! Behind other plugins of a chain it takes over their addresses, and the link that they made is its master.

use serde::Deserialize;

use crate::interface::{
    Addresses, InterfaceConfig, LinkRequest, Parent, Setup, attach, check as check_interface, detach_link,
    gc, make_link, remove_by_kind, status as forward_status,
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

const KIND: &str = "ipvlan";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    master: String,
    mode: String,
    mtu: i64,
    link_in_container: bool,
}

#[derive(Debug)]
struct Config {
    keys: Keys,
    mode: u16,
    interface: InterfaceConfig,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        if !keys.master.is_empty() {
            check_interface_name(&keys.master).map_err(|error| CniError::invalid_config(error.message))?;
        }
        Ok(Self { mode: mode(&keys.mode)?, keys, interface: InterfaceConfig::read(context)? })
    }

    /// The master: that of the configuration, else the one interface that plugins before have made; with an empty name it
    /// is that of the default route.
    fn master(&self, previous: Option<&CniResult>) -> Result<String, CniError> {
        if !self.keys.master.is_empty() {
            return Ok(self.keys.master.clone());
        }
        match previous.map(|previous| previous.interfaces.as_slice()) {
            None | Some([]) => Ok(String::new()),
            Some([one]) => Ok(one.name.clone()),
            Some(several) => Err(CniError::invalid_config(format!(
                "`master` is missing, and the plugins before have made {} interfaces, not one",
                several.len()
            ))),
        }
    }
}

/// The kernel's number of a mode (if_link.h, `IPVLAN_MODE_…`).
fn mode(text: &str) -> Result<u16, CniError> {
    Ok(match text {
        "" | "l2" => 0,
        "l3" => 1,
        "l3s" => 2,
        other => {
            let message = format!("`mode` `{}` is none of ipvlan's", other.escape_default());
            return Err(CniError::invalid_config(message));
        }
    })
}

/// Makes the link and gives it its addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let previous = context.config.previous.as_ref();
    let addresses = match (config.interface.ipam_type(), previous) {
        (Some(kind), _) => Addresses::Plugin(kind),
        (None, Some(previous)) if !previous.ips.is_empty() => Addresses::Given(previous.clone()),
        (None, _) => {
            return Err(CniError::invalid_config(
                "`ipam.type` is missing, and no plugin before gives addresses",
            ));
        }
    };
    let namespace = context.open_namespace()?;
    let master = config.master(previous)?;
    let parent = Parent::find(context, &namespace, &master, config.keys.link_in_container)?;
    let request = LinkRequest {
        kind: LinkKind::IpVlan(config.mode),
        mtu: parent.mtu(config.keys.mtu)?,
        parent: Some(&parent),
        mac: None,
    };
    make_link(context, &namespace, &request)?;
    let undo = |namespace: &Namespace| remove_by_kind(namespace, &context.interface, KIND);
    attach(context, &namespace, &config.interface, addresses, &Setup::OPEN, undo)
}

/// Verifies the link, its mode, addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    check_interface(context, &config.interface, Some(KIND), |link| match link.mode() {
        Some(mode) if mode != u32::from(config.mode) => {
            Err(format!("the mode of ipvlan `{}` is {mode}, not {}", link.name, config.mode))
        }
        _ => Ok(()),
    })
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context)?;
    forward_status(context)
}
