//! The way from the host to the container.

use std::net::IpAddr;

use crate::netlink::RouteSocket;
use crate::protocol::CniError;
use crate::sysctl;

/// The link that leads to the container.
pub(super) struct Way {
    /// Its name.
    pub(super) link: String,
    /// Whether it is of this container alone: the end of a pair, and no bridge.
    pub(super) own: bool,
}

impl Way {
    /// Looks it up; `None` when the host has none.
    pub(super) fn towards(address: IpAddr) -> Result<Option<Self>, CniError> {
        let mut socket =
            RouteSocket::open().map_err(|cause| CniError::internal("opening a socket failed", &cause))?;
        let found = socket.link_towards(address).and_then(|index| match index {
            Some(index) => socket.link_by_index(index),
            None => Ok(None),
        });
        let link = found.map_err(|cause| {
            CniError::internal(format!("looking up the way to `{address}` failed"), &cause)
        })?;
        Ok(link.map(|link| Self { own: link.kind == "veth", link: link.name }))
    }

    /// Lets the host's own loopback reach the container.
    pub(super) fn open_to_loopback(&self) -> Result<(), CniError> {
        let link = &self.link;
        sysctl::ensure(&format!("ipv4/conf/{link}/route_localnet"), "1")
            .map(drop)
            .map_err(|cause| CniError::io(format!("opening `{link}` to the host's loopback failed"), &cause))
    }
}
