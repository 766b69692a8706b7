//! DEL and GC: an attachment is removed, or all that are not valid.

use super::config::Config;
use super::result::known_mac;
use super::{PLUGIN, sender_check};
use crate::delegate::{call_ipam, needs_link};
use crate::interface::{Derived, failed, pair_alias, remove_stray_pairs, remove_with_mac, retire_pair};
use crate::masquerade;
use crate::netlink::RouteSocket;
use crate::protocol::{CniError, Command, Context};

/// Removes the attachment; success when there is nothing.
pub(super) fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let asks_first = config.ipam_type.as_deref().is_some_and(needs_link);
    let give_back = || match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Del).map(drop),
        None => Ok(()),
    };
    if asks_first {
        give_back()?;
    }
    let derived = Derived::new(&context.container_id, &context.interface);
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let namespace = context.open_namespace_if_alive()?;
    if !retire_pair(&mut socket, &context.host.removals, &derived.host_name, namespace.as_ref())?
        && let Some(namespace) = namespace
        && let Some(mac) = known_mac(context)
    {
        remove_with_mac(&namespace, &context.interface, mac)?;
    }
    if let Some(backend) = config.masquerade {
        masquerade::remove(context, backend)?;
    }
    if config.check_senders {
        sender_check::release(context)?;
    }
    if asks_first { Ok(()) } else { give_back() }
}

/// Removes the network's ports, and the addresses, of all attachments that are not valid. Those of another network on the
/// same bridge are not told of, and stay.
pub(super) fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let valid = context.config.valid_attachments()?;
    let asks_first = config.ipam_type.as_deref().is_some_and(needs_link);
    let give_back = || match &config.ipam_type {
        Some(kind) => call_ipam(context, kind, Command::Gc).map(drop),
        None => Ok(()),
    };
    if asks_first {
        give_back()?;
    }
    remove_stray_pairs(&context.host.removals, &pair_alias(PLUGIN.name, context), &valid)?;
    if let Some(backend) = config.masquerade {
        masquerade::collect(context, backend)?;
    }
    if config.check_senders {
        sender_check::collect(context, &valid)?;
    }
    if asks_first { Ok(()) } else { give_back() }
}
