//! Subnets that other state directories of the host have: each has attachments and a lock of its own, and knows nothing of
//! the others. What they share is the kernel.
//!
//! A subnet has a bridge whose name follows from its address, so that a bridge which no attachment of ours is in is somebody
//! else's. While a subnet is taken or given up its bridge comes or goes, and meanwhile it is *claimed*: by an abstract Unix
//! socket (unix(7)) with its name, of which a network namespace has but one, and which dies with its process. Anybody may have
//! a socket of such a name; only one of the user whom we work for, root, is a claim.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use loam_cni::netlink::RouteSocket;
use loam_model::Result;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::failure::of_files;

/// What is said when a claim can't be made.
const DOING: &str = "claiming a subnet failed";

/// A subnet that nobody else takes or gives up as long as this is held.
#[derive(Debug)]
pub(crate) struct Claim {
    /// None when somebody has the name who can't have claims, which holds up nobody.
    _socket: Option<UnixListener>,
}

impl Claim {
    /// Claims the subnet of a bridge that no attachment of ours is in; `None` when somebody else has it, or is about to.
    pub(crate) fn take(bridge: &str) -> Result<Option<Self>> {
        let claim = Self::hold(bridge)?;
        Ok(if is_there(bridge)? { None } else { claim })
    }

    /// Claims the subnet of a bridge that may be there; `None` when somebody else claims it.
    pub(crate) fn hold(bridge: &str) -> Result<Option<Self>> {
        // The bridge's name stands for the subnet: two that begin at one address overlap.
        let name = format!("loam/{bridge}");
        let address = SocketAddr::from_abstract_name(&name);
        match address.and_then(|address| UnixListener::bind_addr(&address)) {
            Ok(socket) => Ok(Some(Self { _socket: Some(socket) })),
            Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => {
                let is_claim =
                    is_claim(&name).map_err(|error| of_files(DOING, std::io::Error::from(error)))?;
                Ok((!is_claim).then_some(Self { _socket: None }))
            }
            Err(cause) => Err(of_files(DOING, cause)),
        }
    }
}

/// Whether a link is there.
pub(crate) fn is_there(bridge: &str) -> Result<bool> {
    let found = RouteSocket::open().and_then(|mut socket| socket.link(bridge));
    Ok(found.map_err(|error| of_files(DOING, error))?.is_some())
}

/// Whether the socket of this name is of a process of our own user.
fn is_claim(name: &str) -> rustix::io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?) {
        Ok(()) => Ok(socket_peercred(&socket)?.uid == rustix::process::geteuid()),
        // It has just been let go, so that it was one. Whoever takes no more callers, or is no listener, never had one.
        Err(Errno::CONNREFUSED) => Ok(true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use loam_testkit::lab::{inside, succeed};

    use super::*;

    #[test]
    fn claims_are_of_one_at_a_time_and_strangers_have_none() {
        inside(
            "container_subnets::claim::tests::claims_are_of_one_at_a_time_and_strangers_have_none",
            || {
                let first = Claim::take("s-0a010000").expect("can be asked").expect("is free");
                assert!(Claim::take("s-0a010000").expect("can be asked").is_none());
                drop(first);
                succeed(&["ip", "link", "add", "s-0a010000", "type", "bridge"]);
                assert!(Claim::take("s-0a010000").expect("can be asked").is_none(), "its bridge is there");
                assert!(Claim::hold("s-0a010000").expect("can be asked").is_some());
                // A socket of another kind, as anybody may have one.
                let address = SocketAddr::from_abstract_name("loam/s-0a020000").expect("a name");
                let _stranger = UnixDatagram::bind_addr(&address).expect("free");
                assert!(Claim::take("s-0a020000").expect("can be asked").is_some());
            },
        );
    }
}
