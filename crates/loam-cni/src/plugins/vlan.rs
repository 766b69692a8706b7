//! The `vlan` plugin: a tagged part of another link's network (IEEE 802.1Q).

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

const KIND: &str = "vlan";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    master: String,
    vlan_id: i64,
    mtu: i64,
    link_in_container: bool,
}

#[derive(Debug)]
struct Config {
    keys: Keys,
    id: u16,
    interface: InterfaceConfig,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        if keys.master.is_empty() {
            return Err(CniError::invalid_config("`master` is missing"));
        }
        check_interface_name(&keys.master).map_err(|error| CniError::invalid_config(error.message))?;
        let id = u16::try_from(keys.vlan_id).ok().filter(|id| *id <= 4094);
        let id = id.ok_or_else(|| {
            CniError::invalid_config(format!("`vlanId` {} is invalid: it must be 0 to 4094", keys.vlan_id))
        })?;
        Ok(Self { keys, id, interface: InterfaceConfig::read(context)? })
    }
}

/// Makes the link and gives it its addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let ipam = config.interface.require_ipam()?;
    let namespace = context.open_namespace()?;
    let parent = Parent::find(context, &namespace, &config.keys.master, config.keys.link_in_container)?;
    let request = LinkRequest {
        kind: LinkKind::Vlan(config.id),
        mtu: parent.mtu(config.keys.mtu)?,
        parent: Some(&parent),
        mac: None,
    };
    make_link(context, &namespace, &request)?;
    let undo = |namespace: &Namespace| remove_by_kind(namespace, &context.interface, KIND);
    attach(context, &namespace, &config.interface, Addresses::Plugin(ipam), &Setup::OPEN, undo)
}

/// Verifies the link, its number, addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    check_interface(context, &config.interface, Some(KIND), |link| match link.mode() {
        Some(id) if id != u32::from(config.id) => {
            Err(format!("the number of vlan `{}` is {id}, not {}", link.name, config.id))
        }
        _ => Ok(()),
    })
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context)?;
    forward_status(context)
}
