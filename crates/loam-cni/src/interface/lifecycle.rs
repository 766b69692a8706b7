//! The verbs of the plugins that make one link in the container and nothing on the host.

use serde::Deserialize;

use super::{
    Setup, check_link, configure, container_interface, not_entered, remove_by_kind, with_addresses, wrong,
};
use crate::delegate::{call_ipam, is_built_in_ipam, needs_link};
use crate::namespace::Namespace;
use crate::netlink::Link;
use crate::protocol::{CniError, CniResult, Command, Context, Dns, check_plugin_type};

/// The keys that all interface plugins have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InterfaceConfig {
    ipam: Option<Ipam>,
    dns: Option<Dns>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl InterfaceConfig {
    /// Reads the keys from a plugin's configuration.
    pub(crate) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let config: Self = context.config.decode()?;
        if let Some(kind) = config.ipam_type() {
            check_plugin_type(kind)?;
        }
        Ok(config)
    }

    /// The address plugin, if one is configured.
    pub(crate) fn ipam_type(&self) -> Option<&str> {
        self.ipam.as_ref()?.kind.as_deref().filter(|kind| !kind.is_empty())
    }

    /// The address plugin, for plugins that can't do without.
    pub(crate) fn require_ipam(&self) -> Result<&str, CniError> {
        self.ipam_type().ok_or_else(|| CniError::invalid_config("`ipam.type` is missing"))
    }

    /// Sets the result's name service, unless the configuration says nothing about it.
    pub(crate) fn apply_dns(&self, result: &mut CniResult) {
        if let Some(dns) = self.dns.as_ref().filter(|dns| !dns.is_empty()) {
            result.dns = dns.clone();
        }
    }
}

/// Where the addresses of a link come from.
#[derive(Debug)]
pub(crate) enum Addresses<'a> {
    /// From this address plugin.
    Plugin(&'a str),
    /// From the plugins before in the chain.
    Given(CniResult),
    /// There are none.
    None,
}

/// ADD, after the link was made: gives it addresses, routes and state. When that fails, `undo` takes the link back.
///
/// The link comes before the addresses, because an address plugin may need it to ask for them (`dhcp`).
pub(crate) fn attach(
    context: &Context<'_>,
    namespace: &Namespace,
    config: &InterfaceConfig,
    addresses: Addresses<'_>,
    setup: &Setup,
    undo: impl FnOnce(&Namespace) -> Result<(), CniError>,
) -> Result<CniResult, CniError> {
    let finish = |mut result: CniResult| {
        for ip in &mut result.ips {
            ip.interface = Some(0);
        }
        let link = configure(context, setup, namespace, &result)?;
        result.interfaces = vec![container_interface(context, &link)?];
        config.apply_dns(&mut result);
        Ok(result)
    };
    let attached = match addresses {
        Addresses::Plugin(ipam) => with_addresses(context, Some(ipam), finish),
        Addresses::Given(result) => finish(result),
        Addresses::None => with_addresses(context, None, finish),
    };
    attached.map_err(|mut error| {
        if let Err(second) = undo(namespace) {
            error.details = format!("{}; undoing it failed too: {second}", error.details);
        }
        error
    })
}

/// DEL: removes the link and gives the addresses back; success when there is nothing.
///
/// Our address plugins give an address to the next container at once, so that the link must go first; others, and `dhcp`,
/// may need the link to give it back.
pub(crate) fn detach(
    context: &Context<'_>,
    config: &InterfaceConfig,
    remove: impl FnOnce(&Namespace) -> Result<(), CniError>,
) -> Result<(), CniError> {
    let namespace = context.open_namespace_if_alive()?;
    let Some(ipam) = config.ipam_type() else { return namespace.as_ref().map_or(Ok(()), remove) };
    if is_built_in_ipam(ipam) && !needs_link(ipam) {
        namespace.as_ref().map_or(Ok(()), remove)?;
        call_ipam(context, ipam, Command::Del).map(drop)
    } else {
        call_ipam(context, ipam, Command::Del)?;
        namespace.as_ref().map_or(Ok(()), remove)
    }
}

/// DEL of a plugin that makes a link of one kind: needs nothing of what it was made from.
pub(crate) fn detach_link(context: &Context<'_>, kind: &str) -> Result<(), CniError> {
    let config = InterfaceConfig::read(context)?;
    detach(context, &config, |namespace| remove_by_kind(namespace, &context.interface, kind))
}

/// CHECK: the addresses' reservation, then the link; `verify` sees it inside the namespace.
pub(crate) fn check(
    context: &Context<'_>,
    config: &InterfaceConfig,
    kind: Option<&str>,
    verify: impl FnOnce(&Link) -> Result<(), String> + Send,
) -> Result<(), CniError> {
    let namespace = context.open_namespace()?;
    if let Some(ipam) = config.ipam_type() {
        call_ipam(context, ipam, Command::Check)?;
    }
    let previous = context.config.require_previous()?;
    let inside = || {
        let link = check_link(context, previous, kind, !previous.ips.is_empty())?;
        verify(&link).map_err(wrong)
    };
    namespace.run(inside).map_err(|cause| not_entered(&cause))?
}

/// GC: links in containers go with their namespaces; what may be left are addresses.
pub(crate) fn gc(context: &Context<'_>) -> Result<(), CniError> {
    forward(context, Command::Gc)
}

/// STATUS: that of the address plugin.
pub(crate) fn status(context: &Context<'_>) -> Result<(), CniError> {
    forward(context, Command::Status)
}

fn forward(context: &Context<'_>, command: Command) -> Result<(), CniError> {
    match InterfaceConfig::read(context)?.ipam_type() {
        Some(ipam) => call_ipam(context, ipam, command).map(drop),
        None => Ok(()),
    }
}
