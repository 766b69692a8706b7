//! The `tap` plugin: a link in the container whose other end a virtual machine opens.

use std::io::ErrorKind;

use loam_sys::{TapSettings, make_tap};
use serde::Deserialize;

use crate::interface::{
    Addresses, InterfaceConfig, Setup, attach, check as check_interface, detach_link, failed, gc, has_link,
    not_entered, remove_by_kind, status as forward_status, wanted_mac,
};
use crate::namespace::Namespace;
use crate::netlink::{Batch, LinkSettings, NetlinkError, RouteSocket};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, Version, check_interface_name, code};

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "tap",
    role: Role::Interface,
    oldest: Version::V0_1_0,
    add,
    del: |context| detach_link(context, KIND),
    check,
    gc,
    status,
};

/// The kernel's name for TUN and TAP devices.
const KIND: &str = "tun";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    multi_queue: bool,
    mtu: i64,
    owner: Option<u32>,
    group: Option<u32>,
    selinux_context: String,
    bridge: String,
}

#[derive(Debug)]
struct Config {
    settings: TapSettings,
    mtu: Option<u32>,
    bridge: String,
    mac: Option<[u8; 6]>,
    interface: InterfaceConfig,
}

impl Config {
    fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys: Keys = context.config.decode()?;
        // The kernel labels a device as the process that makes it, which only a program of its own could be.
        if !keys.selinux_context.is_empty() {
            let context = keys.selinux_context.escape_default();
            return Err(CniError::unsupported_field("selinuxContext", context));
        }
        if !keys.bridge.is_empty() {
            check_interface_name(&keys.bridge).map_err(|error| CniError::invalid_config(error.message))?;
        }
        let mtu = u32::try_from(keys.mtu).ok().filter(|mtu| *mtu <= 65535);
        let mtu = mtu.ok_or_else(|| {
            CniError::invalid_config(format!("`mtu` {} is invalid: it must be 0 to 65535", keys.mtu))
        })?;
        Ok(Self {
            settings: TapSettings { multi_queue: keys.multi_queue, owner: keys.owner, group: keys.group },
            mtu: (mtu > 0).then_some(mtu),
            bridge: keys.bridge,
            mac: wanted_mac(context, &[&["runtimeConfig", "mac"], &[], &["mac"]])?,
            interface: InterfaceConfig::read(context)?,
        })
    }
}

/// Makes the device and gives it its addresses.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    let name = context.interface.as_str();
    if has_link(&namespace, name)? {
        let message = format!("container interface `{name}` already exists");
        return Err(CniError::new(code::EXISTS, message));
    }
    if let Err(mut error) = make(&namespace, name, &config) {
        if error.code != code::EXISTS
            && let Err(second) = remove_by_kind(&namespace, name, KIND)
        {
            error.details = format!("{}; removing the interface failed too: {second}", error.details);
        }
        return Err(error);
    }
    let addresses = config.interface.ipam_type().map_or(Addresses::None, Addresses::Plugin);
    let undo = |namespace: &Namespace| remove_by_kind(namespace, &context.interface, KIND);
    attach(context, &namespace, &config.interface, addresses, &Setup::HOST_ONLY, undo)
}

fn make(namespace: &Namespace, name: &str, config: &Config) -> Result<(), CniError> {
    namespace.run(|| make_inside(name, config)).map_err(|cause| not_entered(&cause))?
}

fn make_inside(name: &str, config: &Config) -> Result<(), CniError> {
    make_tap(name, config.settings).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => CniError::new(
            code::UNSUPPORTED_KERNEL,
            "there is no `/dev/net/tun`, or this kernel lacks links of type `tap`",
        ),
        ErrorKind::ResourceBusy | ErrorKind::AlreadyExists => {
            CniError::new(code::EXISTS, format!("container interface `{name}` already exists"))
        }
        _ => CniError::io(format!("making tap `{name}` failed"), &cause),
    })?;
    let mut socket = RouteSocket::open().map_err(failed("opening a socket in the namespace"))?;
    let controller = match config.bridge.as_str() {
        "" => None,
        bridge => {
            let found = socket.link(bridge).map_err(failed(format!("looking up bridge `{bridge}`")))?;
            let found = found.filter(|link| link.kind == "bridge");
            Some(found.ok_or_else(|| {
                CniError::invalid_config(format!("there is no bridge `{bridge}` in the container"))
            })?)
        }
    };
    let settings =
        LinkSettings { mtu: config.mtu, mac: config.mac, controller: controller.map(|link| link.index) };
    if settings == LinkSettings::default() {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.set_link_settings(name, settings);
    match socket.run(batch).map_err(failed(format!("setting `{name}`")))?.into_iter().next() {
        Some(Err(refusal)) => Err(failed(format!("setting `{name}`"))(NetlinkError::Refused(refusal))),
        _ => Ok(()),
    }
}

/// Verifies the device, its addresses and routes.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    check_interface(context, &config.interface, Some(KIND), |_| Ok(()))
}

/// Verifies the configuration and asks the address plugin.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context)?;
    forward_status(context)
}
