//! Links inside a namespace: whether one is there, and its removal.

use rustix::io::Errno;

use super::{failed, not_entered};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, NetlinkError, RouteSocket};
use crate::protocol::CniError;

/// The link of this name in the namespace.
pub(crate) fn named(namespace: &Namespace, name: &str) -> Result<Option<Link>, CniError> {
    let found = namespace.run(|| RouteSocket::open().and_then(|mut socket| socket.link(name)));
    found.map_err(|cause| not_entered(&cause))?.map_err(failed(format!("looking up `{name}`")))
}

/// Whether the namespace has a link of this name.
pub(crate) fn has_link(namespace: &Namespace, name: &str) -> Result<bool, CniError> {
    named(namespace, name).map(|found| found.is_some())
}

/// Removes a link of a kind, by name. One of another kind belongs to somebody else and stays.
pub(crate) fn remove_by_kind(namespace: &Namespace, name: &str, kind: &str) -> Result<(), CniError> {
    remove_if(namespace, name, |link| link.kind == kind)
}

/// Removes a veth pair by its end in the namespace: one that another implementation made, if the hardware address shows
/// that it is the one of the ADD.
pub(crate) fn remove_with_mac(namespace: &Namespace, name: &str, mac: &str) -> Result<(), CniError> {
    remove_if(namespace, name, |link| link.kind == "veth" && link.mac_text() == mac)
}

fn remove_if(
    namespace: &Namespace,
    name: &str,
    is_ours: impl FnOnce(&Link) -> bool + Send,
) -> Result<(), CniError> {
    let removed = namespace.run(|| {
        let mut socket = RouteSocket::open()?;
        let Some(link) = socket.link(name)?.filter(is_ours) else { return Ok(()) };
        let mut batch = Batch::new();
        batch.delete_link_by_index(link.index);
        match socket.run(batch)?.into_iter().next() {
            Some(Err(refusal)) if refusal.errno != Errno::NODEV => Err(NetlinkError::Refused(refusal)),
            _ => Ok(()),
        }
    });
    removed.map_err(|cause| not_entered(&cause))?.map_err(failed(format!("removing `{name}`")))
}
