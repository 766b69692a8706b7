//! Where a lease's interface is: a link in a network namespace, which is found again by what tells it from others.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use loam_sys::PacketSocket;
use serde::{Deserialize, Serialize};

use super::client::{Destination, Outgoing};
use super::frame;
use crate::interface::{failed, not_entered};
use crate::namespace::{Namespace, NamespaceError};
use crate::netlink::{Batch, Link, RouteSocket};
use crate::plugins::kernel::{find_link, inside, require_link, run};
use crate::protocol::{CniError, code};

const TO_ALL: [u8; 6] = [0xff; 6];
/// A link of this kind shares its hardware address with others and tells packets apart by address alone, so that it hears
/// nothing that is sent to an address which it does not have yet.
const SHARED: &str = "ipvlan";

/// What tells an interface apart from all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The path of the namespace.
    pub(super) path: PathBuf,
    /// Its device and inode.
    pub(super) namespace: (u64, u64),
    /// The link's index, name and hardware address.
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) hardware: [u8; 6],
    /// Whether answers must be sent to all.
    pub(super) broadcast: bool,
}

/// An interface, with its namespace held open.
#[derive(Debug)]
pub(super) struct Place {
    namespace: Namespace,
    pub(super) identity: Identity,
    /// Whether the path led to the namespace when the place was found. Callers may see other paths than we do.
    seen: bool,
}

/// Whether a path leads to a namespace; `None` when that can't be told now.
fn leads_to(path: &Path, identity: (u64, u64)) -> Option<bool> {
    match Namespace::open_any(path).and_then(|namespace| namespace.identity()) {
        Ok(found) => Some(found == identity),
        Err(cause) => cause.is_gone().then_some(false),
    }
}

fn unusable(path: &Path) -> impl FnOnce(NamespaceError) -> CniError {
    let message = format!("network namespace `{}` can't be used", path.display());
    move |cause| CniError::new(code::INVALID_NAMESPACE, message).because(&cause)
}

impl Place {
    /// Finds the interface that gets a lease, and brings it up: only then can it be asked over it.
    pub(super) fn find(namespace: Namespace, path: PathBuf, name: &str) -> Result<Self, CniError> {
        let identity = namespace.identity().map_err(unusable(&path))?;
        let link = inside(&namespace, |socket| {
            let link = require_link(socket, name)?;
            if !link.up {
                let mut batch = Batch::new();
                batch.link_up(link.index);
                run(socket, batch, vec![format!("setting `{name}` up")])?;
            }
            Ok(link)
        })?;
        let hardware: [u8; 6] = link.mac.as_slice().try_into().map_err(|_| {
            CniError::new(code::INTERNAL, format!("interface `{name}` has no Ethernet address"))
        })?;
        let seen = leads_to(&path, identity) == Some(true);
        let identity = Identity {
            path,
            namespace: identity,
            index: link.index,
            name: link.name,
            hardware,
            broadcast: link.kind == SHARED,
        };
        Ok(Self { namespace, identity, seen })
    }

    /// Finds an interface again; `None` when it or its namespace is gone.
    pub(super) fn find_again(identity: Identity) -> Result<Option<Self>, CniError> {
        let namespace = match Namespace::open_any(&identity.path) {
            Ok(namespace) => namespace,
            Err(cause) if cause.is_gone() => return Ok(None),
            Err(cause) => return Err(unusable(&identity.path)(cause)),
        };
        let found = namespace.identity().map_err(unusable(&identity.path))?;
        let place = Self { namespace, seen: true, identity };
        // Numbers of namespaces and links are used again; the hardware address tells another container's from this one.
        let is_same = found == place.identity.namespace
            && place.link()?.is_some_and(|link| link.mac == place.identity.hardware);
        Ok(is_same.then_some(place))
    }

    /// Whether a namespace and interface are this place's.
    pub(super) fn is(&self, namespace: &Namespace, name: &str) -> bool {
        let same = namespace.identity().is_ok_and(|found| found == self.identity.namespace);
        same && self.identity.name == name
    }

    /// The link, if it is still the same.
    pub(super) fn link(&self) -> Result<Option<Link>, CniError> {
        let found = inside(&self.namespace, |socket| find_link(socket, &self.identity.name))?;
        Ok(found.filter(|link| link.index == self.identity.index))
    }

    /// Whether the container is gone: nobody can enter a namespace without a path.
    pub(super) fn is_abandoned(&self) -> bool {
        self.seen && leads_to(&self.identity.path, self.identity.namespace) == Some(false)
    }

    /// Opens a packet socket on the link.
    pub(super) fn open_socket(&self) -> Result<PacketSocket, CniError> {
        let opened = self.namespace.run(|| PacketSocket::open(self.identity.index));
        opened.map_err(|cause| not_entered(&cause))?.map_err(|cause| {
            CniError::io(format!("opening a packet socket on `{}` failed", self.identity.name), &cause)
        })
    }

    /// Takes the link down, as its address may have another owner.
    pub(super) fn shut(&self) -> Result<(), CniError> {
        let what = format!("setting `{}` down", self.identity.name);
        inside(&self.namespace, |socket: &mut RouteSocket| {
            let mut batch = Batch::new();
            batch.link_down(self.identity.index);
            socket.run(batch).map(drop).map_err(failed(what))
        })
    }
}

/// Sends a message of a client.
pub(super) fn send(socket: &PacketSocket, outgoing: &Outgoing) -> io::Result<()> {
    let (address, hardware) = match outgoing.destination {
        Destination::All => (Ipv4Addr::BROADCAST, TO_ALL),
        Destination::Server(address, hardware) => (address, hardware),
    };
    let packet = frame::wrap(outgoing.message.client, address, &outgoing.message.encode());
    let packet = packet.ok_or_else(|| io::Error::other("the message is too long for a packet"))?;
    socket.send(&packet, hardware)
}
