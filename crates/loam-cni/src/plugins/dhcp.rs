//! The `dhcp` plugin: addresses from a DHCP server on the network that the interface is on (RFC 2131), IPv4 only.
//!
//! An address is leased, and must be renewed as long as the container lives. That is the work of one small process for all
//! containers, the *keeper* ([`loam_dhcp`]): it listens on a socket, asks servers through packet sockets in the containers'
//! namespaces, renews leases, and gives them back. The verbs are questions to it. When nobody listens, ADD starts it from the
//! program `loam-cni`; it ends with the last lease. `loam-cni dhcp daemon` is the same process started by an administrator or
//! by systemd, as the reference plugin's daemon is.

mod caller;
mod config;
mod links;

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use loam_dhcp::{Answer, Attachment, Call, Granted, Take};

use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, IpConfig, Route, Version, code};
use caller::{Start, ask};
use config::Config;
use links::Links;

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: KIND, role: Role::Addresses, oldest: Version::V0_1_0, add, del, check, gc, status };

/// The `type` of an address plugin that asks over the link, which must be there first and last.
pub(crate) const KIND: &str = "dhcp";

/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;

/// Runs a keeper, when the words after the plugin's name ask for one rather than for the plugin.
pub(crate) fn keep(
    words: &[String],
    variable: impl Fn(&str) -> Option<String>,
    errors: &mut dyn Write,
) -> Option<std::io::Result<u8>> {
    let is_meant = loam_dhcp::keeper::is_meant(words.first().map(String::as_str));
    is_meant.then(|| loam_dhcp::keeper::main(words, variable, errors, &Links))
}

fn attachment(context: &Context<'_>) -> Attachment {
    Attachment {
        container: context.container_id.clone(),
        network: context.config.name.clone(),
        interface: context.interface.clone(),
    }
}

/// Takes a lease.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let namespace = context.open_namespace()?;
    let path = std::path::absolute(context.namespace_path()?)
        .map_err(|cause| CniError::io("the path of the namespace can't be made absolute", &cause))?;
    let leases = &context.host.leases;
    let patience = u64::try_from(leases.patience.as_millis()).unwrap_or(u64::MAX);
    let take = Take { attachment: attachment(context), namespace: path, options: config.options, patience };
    let answer = ask(&config.socket, leases, Call::Take(take), Some(namespace.as_fd()), Start::Always)?;
    let granted = lease(answer)?;
    let routes = granted.routes.into_iter().map(|route| Route {
        priority: config.priority,
        // The unspecified address keeps the gateway of the family from being taken.
        scope: route.gateway.is_none().then_some(SCOPE_LINK),
        ..Route::new(route.destination.into(), Some(route.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED).into()))
    });
    let routes = routes.collect();
    let gateway = granted.gateway.map(Into::into);
    let ips = vec![IpConfig { address: granted.address.into(), gateway, interface: None }];
    Ok(CniResult { ips, routes, ..CniResult::default() })
}

fn lease(answer: Option<Answer>) -> Result<Granted, CniError> {
    match answer {
        Some(Answer::Lease(granted)) => Ok(granted),
        Some(Answer::Refused(refusal)) => Err(refusal.into()),
        Some(Answer::Done) => {
            Err(CniError::new(code::INTERNAL, "the keeper of DHCP leases answered something else"))
        }
        None => Err(CniError::new(code::INTERNAL, "dhcp: no lease is held for the attachment")),
    }
}

fn done(answer: Option<Answer>) -> Result<(), CniError> {
    match answer {
        Some(Answer::Refused(refusal)) => Err(refusal.into()),
        _ => Ok(()),
    }
}

/// Gives the lease back.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let Some(socket) = Config::read_socket(context) else { return Ok(()) };
    let call = Call::Release { attachment: attachment(context) };
    done(ask(&socket, &context.host.leases, call, None, Start::ForLeases)?)
}

/// Verifies that a lease is held, and that it is the one of the ADD.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let call = Call::Look { attachment: attachment(context) };
    let granted = lease(ask(&config.socket, &context.host.leases, call, None, Start::ForLeases)?)?;
    match &context.config.previous {
        Some(previous) if !previous.ips.iter().any(|ip| ip.address == granted.address.into()) => {
            let message =
                format!("dhcp: leased address `{}` is not in the result of the ADD", granted.address);
            Err(CniError::new(code::INTERNAL, message))
        }
        _ => Ok(()),
    }
}

/// Gives back the leases of all attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let Some(socket) = Config::read_socket(context) else { return Ok(()) };
    let valid = context.config.valid_attachments()?;
    let valid =
        valid.owners().map(|owner| (owner.container.to_owned(), owner.interface.to_owned())).collect();
    let call = Call::Retain { network: context.config.name.clone(), valid };
    done(ask(&socket, &context.host.leases, call, None, Start::ForLeases)?)
}

/// Verifies that the configuration is sound and that a keeper is there, or can be started.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let leases = &context.host.leases;
    match ask(&config.socket, leases, Call::Status, None, Start::Never) {
        Ok(Some(answer)) => done(Some(answer)),
        Ok(None) if leases.program.as_ref().is_some_and(|program| program.exists()) => Ok(()),
        Ok(None) => {
            let message = format!("no DHCP daemon listens on `{}`", config.socket.display());
            Err(CniError::new(code::UNAVAILABLE, message))
        }
        Err(error) => Err(CniError { code: code::UNAVAILABLE, ..error }),
    }
}
