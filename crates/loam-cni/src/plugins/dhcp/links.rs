//! The links of containers, as the keeper of leases needs them.

use std::os::fd::BorrowedFd;

use loam_dhcp::{Interfaces, Link, Refusal};
use loam_sys::PacketSocket;

use crate::interface::{failed, not_entered};
use crate::namespace::Namespace;
use crate::netlink::{Batch, RouteSocket};
use crate::plugins::kernel::{find_link, inside, run};
use crate::protocol::{CniError, code};

/// The kind of links that share their hardware address with others.
const SHARED: &str = "ipvlan";

/// Links, over netlink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links;

/// The namespace that a descriptor is of, which may be of anything.
fn namespace(descriptor: BorrowedFd<'_>) -> Result<Namespace, CniError> {
    let unusable = "the namespace of a DHCP lease can't be used";
    let own = descriptor.try_clone_to_owned().map_err(|cause| CniError::io(unusable, &cause))?;
    Namespace::from_file(own.into())
        .map_err(|cause| CniError::new(code::INVALID_NAMESPACE, unusable).because(&cause))
}

/// Runs a function in a namespace with a socket there.
fn at<T: Send>(
    descriptor: BorrowedFd<'_>,
    function: impl FnOnce(&mut RouteSocket) -> Result<T, CniError> + Send,
) -> Result<T, Refusal> {
    namespace(descriptor).and_then(|namespace| inside(&namespace, function)).map_err(Refusal::from)
}

impl Interfaces for Links {
    fn look(&self, namespace: BorrowedFd<'_>, name: &str) -> Result<Option<Link>, Refusal> {
        let found = at(namespace, |socket| find_link(socket, name))?;
        Ok(found.map(|link| Link {
            index: link.index,
            is_shared: link.kind == SHARED,
            name: link.name,
            hardware: link.mac,
            is_up: link.up,
        }))
    }

    fn raise(&self, namespace: BorrowedFd<'_>, link: &Link) -> Result<(), Refusal> {
        at(namespace, |socket| {
            let mut batch = Batch::new();
            batch.link_up(link.index);
            run(socket, batch, vec![format!("setting `{}` up", link.name)])
        })
    }

    fn shut(&self, namespace: BorrowedFd<'_>, link: &Link) -> Result<(), Refusal> {
        at(namespace, |socket| {
            let mut batch = Batch::new();
            batch.link_down(link.index);
            socket.run(batch).map(drop).map_err(failed(format!("setting `{}` down", link.name)))
        })
    }

    fn open_socket(
        &self,
        descriptor: BorrowedFd<'_>,
        link: &Link,
        port: u16,
    ) -> Result<PacketSocket, Refusal> {
        let opened = namespace(descriptor)?.run(|| PacketSocket::open(link.index, port));
        opened.map_err(|cause| not_entered(&cause))?.map_err(|cause| {
            Refusal::io(format!("opening a packet socket on `{}` failed", link.name), &cause)
        })
    }
}

impl From<CniError> for Refusal {
    fn from(error: CniError) -> Self {
        Self { code: error.code, message: error.message, details: error.details }
    }
}

impl From<Refusal> for CniError {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message, details: refusal.details }
    }
}
