//! The `dummy` plugin: a link that leads nowhere, for addresses that a container shall have.

use crate::interface::{
    Addresses, InterfaceConfig, LinkRequest, Setup, attach, check as check_interface, detach_link, gc,
    make_link, remove_by_kind, status,
};
use crate::namespace::Namespace;
use crate::netlink::LinkKind;
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, Version};

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

const KIND: &str = "dummy";

/// Makes the link and gives it its addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = InterfaceConfig::read(context)?;
    let ipam = config.require_ipam()?;
    let namespace = context.open_namespace()?;
    let request = LinkRequest { kind: LinkKind::Dummy, parent: None, mtu: None, mac: None };
    make_link(context, &namespace, &request)?;
    let undo = |namespace: &Namespace| remove_by_kind(namespace, &context.interface, KIND);
    attach(context, &namespace, &config, Addresses::Plugin(ipam), &Setup::HOST_ONLY, undo)
}

/// Verifies the link, its addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    check_interface(context, &InterfaceConfig::read(context)?, Some(KIND), |_| Ok(()))
}
