//! The `dhcp` plugin: addresses from a DHCP server on the network that the interface is on (RFC 2131), IPv4 only.
//!
//! An address is leased, and must be renewed as long as the container lives. That is the work of one small process for all
//! containers, the *keeper* ([`keeper`]): it listens on a socket, asks servers through packet sockets in the containers'
//! namespaces, renews leases, and gives them back. The verbs are questions to it ([`wire`]). When nobody listens, ADD
//! starts it from the program `loam-cni`; it ends with the last lease. `loam-cni dhcp daemon` is the same process started
//! by an administrator or by systemd, as the reference plugin's daemon is.
//!
//! State on disk, so that a keeper that was killed is followed by one that goes on:
//!
//! ```text
//! SOCKET.leases/            beside the socket; on a file system that is empty after a restart of the machine
//!   lock                    flock'ed by the keeper as long as it lives
//!   log                     what a keeper did that nobody listens to, at most twice 64 KiB (log, log.old)
//!   DIGEST.json             a lease: format version 1, see `keeper::records`
//! ```
//!
//! Files are written beside and renamed. A keeper that is killed leaves leases that the next verb of any container finds,
//! and addresses in use; between them nothing is renewed. One that is killed between the server's acknowledgement and the
//! file leaves the lease to the server, which gives it to the same client again.
//!
//! The keeper holds the namespaces of its leases open, so that it can give leases back when containers have died. When the
//! path of a namespace is gone, which is looked at once a minute and before each renewal, it gives the lease back by itself.

mod caller;
mod client;
mod config;
mod delays;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod keeper;
mod message;
mod place;
mod terms;
mod wire;

use std::os::fd::AsFd;

use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, IpConfig, Version, code};
use caller::{Start, ask};
use config::Config;
use wire::{Answer, Attachment, Call, Granted, Take};

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: KIND, role: Role::Addresses, oldest: Version::V0_1_0, add, del, check, gc, status };

/// The `type` of an address plugin that asks over the link, which must be there first and last.
pub(crate) const KIND: &str = "dhcp";

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
    let mut granted = lease(answer)?;
    for route in &mut granted.routes {
        route.priority = config.priority;
    }
    let gateway = granted.gateway.map(Into::into);
    let ips = vec![IpConfig { address: granted.address.into(), gateway, interface: None }];
    Ok(CniResult { ips, routes: granted.routes, ..CniResult::default() })
}

fn lease(answer: Option<Answer>) -> Result<Granted, CniError> {
    match answer {
        Some(Answer::Lease(granted)) => Ok(granted),
        Some(Answer::Refused(error)) => Err(error),
        Some(Answer::Done) => {
            Err(CniError::new(code::INTERNAL, "the keeper of DHCP leases answered something else"))
        }
        None => Err(CniError::new(code::INTERNAL, "dhcp: no lease is held for the attachment")),
    }
}

fn done(answer: Option<Answer>) -> Result<(), CniError> {
    match answer {
        Some(Answer::Refused(error)) => Err(error),
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
