//! What the plugins that make interfaces have in common: a link inside a namespace is configured in one batch, verified
//! for CHECK, removed by name at DEL, and described in the result.

mod check;
mod configure;
mod derived;
mod hardware_address;
mod lifecycle;
mod link_in_place;
mod pair;
mod removal;
mod retire;
mod routing;

pub(crate) use check::{check_link, wrong};
pub(crate) use configure::{Setup, configure};
pub(crate) use derived::Derived;
pub(crate) use hardware_address::{parse_hardware_address, wanted_mac};
pub(crate) use lifecycle::{Addresses, InterfaceConfig, attach, check, detach, detach_link, gc, status};
pub(crate) use link_in_place::{LinkRequest, Parent, make_link};
pub(crate) use pair::{done, make_pair, pair_alias, remove_pair, remove_stray_pairs};
pub(crate) use removal::{has_link, named, remove_by_kind, remove_with_mac};
pub(crate) use retire::{is_retired, retire_link, retire_pair};
pub(crate) use routing::forward;

use crate::delegate::call_ipam;
use crate::namespace::NamespaceError;
use crate::netlink::{Link, NetlinkError};
use crate::protocol::{CniError, CniResult, Command, Context, Interface, code};

/// The error of a step that the kernel did not do.
pub(crate) fn failed(what: impl Into<String>) -> impl FnOnce(NetlinkError) -> CniError {
    let what = what.into();
    move |cause| match cause.errno() {
        Some(rustix::io::Errno::OPNOTSUPP) => {
            CniError::new(code::UNSUPPORTED_KERNEL, format!("{what} failed: this kernel lacks the link type"))
                .because(&cause)
        }
        _ => CniError::internal(format!("{what} failed"), &cause),
    }
}

/// The error of a namespace that can't be entered.
pub(crate) fn not_entered(cause: &NamespaceError) -> CniError {
    CniError::new(code::INVALID_NAMESPACE, "the network namespace can't be entered").because(cause)
}

/// The result's entry for the link in the container.
pub(crate) fn container_interface(context: &Context<'_>, link: &Link) -> Result<Interface, CniError> {
    Ok(Interface {
        name: context.interface.clone(),
        mac: link.mac_text(),
        mtu: Some(link.mtu),
        sandbox: context.namespace_path()?.display().to_string(),
        ..Interface::default()
    })
}

/// Gets addresses from the address plugin and hands them to `attach`; gives them back when that fails.
pub(crate) fn with_addresses(
    context: &Context<'_>,
    ipam_type: Option<&str>,
    attach: impl FnOnce(CniResult) -> Result<CniResult, CniError>,
) -> Result<CniResult, CniError> {
    let Some(kind) = ipam_type else { return attach(CniResult::default()) };
    let attached = match call_ipam(context, kind, Command::Add)?.unwrap_or_default() {
        addresses if addresses.ips.is_empty() => {
            Err(CniError::invalid_config("IPAM plugin returned missing IP config"))
        }
        addresses => attach(addresses),
    };
    attached.map_err(|mut error| {
        if let Err(second) = call_ipam(context, kind, Command::Del) {
            error.details = format!("{}; giving the address back failed too: {second}", error.details);
        }
        error
    })
}
