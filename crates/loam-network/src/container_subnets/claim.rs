//! Subnets that other state directories of the host have: each has attachments and a lock of its own, and knows nothing of
//! the others. What they share is the kernel.
//!
//! A subnet has a bridge whose name follows from its address, so that a bridge which no attachment of ours is in is somebody
//! else's. Between choosing and the bridge a subnet is *claimed*: by an abstract Unix socket (unix(7)) with its name, of which
//! a network namespace has but one, and which dies with its process.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use loam_cni::netlink::RouteSocket;
use loam_model::Result;

use crate::failure::of_files;

/// A subnet that nobody else takes as long as this is held.
#[derive(Debug)]
pub(crate) struct Claim {
    _socket: UnixDatagram,
}

impl Claim {
    /// Claims the subnet of a bridge that no attachment of ours is in; `None` when somebody else has it, or is about to.
    pub(crate) fn take(bridge: &str) -> Result<Option<Self>> {
        let doing = "claiming a subnet failed";
        // The bridge's name stands for the subnet: two that begin at one address overlap.
        let address = SocketAddr::from_abstract_name(format!("loam/{bridge}"));
        let socket = match address.and_then(|address| UnixDatagram::bind_addr(&address)) {
            Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => return Ok(None),
            socket => socket.map_err(|cause| of_files(doing, cause))?,
        };
        let found = RouteSocket::open().and_then(|mut socket| socket.link(bridge));
        let is_there = found.map_err(|error| of_files(doing, error))?.is_some();
        Ok((!is_there).then_some(Self { _socket: socket }))
    }
}
