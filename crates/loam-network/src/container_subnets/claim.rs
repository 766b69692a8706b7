//! Subnets that other state directories of the host have: each has attachments and a lock of its own, and knows nothing of
//! the others. What they share is the kernel.
//!
//! A subnet has a bridge whose name follows from its address, so that a bridge which no attachment of ours is in is somebody
//! else's. While a subnet is taken or given up its bridge comes or goes, and meanwhile it is *claimed*: by an abstract Unix
//! socket (unix(7)) with its name, of which a network namespace has but one, and which dies with its process. Anybody may have
//! a socket of such a name, or call at one until it takes no more callers; only a socket of the user whom we work for, root, is a
//! claim.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

use loam_cni::netlink::{NetlinkError, RouteSocket, unix_owner};
use loam_model::Result;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::failure::of_files;

/// What is said when a claim can't be made.
const DOING: &str = "claiming a subnet failed";
/// How often a name is asked for that somebody has at one look and nobody at the next, and the time between.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);
/// How long a claim is waited for that others may have for a moment only.
const PATIENCE: Duration = Duration::from_millis(500);

/// A subnet that nobody else takes or gives up as long as this is held.
#[derive(Debug)]
pub(crate) struct Claim {
    /// None when somebody has the name who can't have claims, which holds up nobody.
    _socket: Option<UnixListener>,
}

/// Who has a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// One of our own user, who has a claim.
    Claimant,
    /// Another user.
    Stranger,
    /// Nobody any more.
    Nobody,
    /// One who takes no calls: a claimant that just begins or ends, or a stranger for good.
    Mute,
}

impl Claim {
    /// Claims the subnet of a bridge that no attachment of ours is in; `None` when somebody else has it, or is about to.
    pub(crate) fn take(bridge: &str) -> Result<Option<Self>> {
        let claim = Self::hold(bridge)?;
        Ok(if is_there(bridge)? { None } else { claim })
    }

    /// Claims the subnet of a bridge of ours; `None` when somebody else has claimed it, and not just to see that the bridge is there.
    pub(crate) fn regain(bridge: &str) -> Result<Option<Self>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let claim = Self::hold(bridge)?;
            if claim.is_some() || Instant::now() >= deadline {
                return Ok(claim);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Claims the subnet of a bridge that may be there; `None` when somebody else claims it.
    fn hold(bridge: &str) -> Result<Option<Self>> {
        // The bridge's name stands for the subnet: two that begin at one address overlap.
        let name = format!("loam/{bridge}");
        let address = SocketAddr::from_abstract_name(&name).map_err(|cause| of_files(DOING, cause))?;
        let mut holder = Holder::Nobody;
        for _ in 0..ATTEMPTS {
            match UnixListener::bind_addr(&address) {
                Ok(socket) => return Ok(Some(Self { _socket: Some(socket) })),
                Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(cause) => return Err(of_files(DOING, cause)),
            }
            holder = holder_of(&name).map_err(|errno| of_files(DOING, std::io::Error::from(errno)))?;
            match holder {
                Holder::Claimant => return Ok(None),
                Holder::Stranger => break,
                Holder::Nobody | Holder::Mute => std::thread::sleep(PAUSE),
            }
        }
        // Where one claim follows the other, the name is none of ours for now.
        Ok((holder != Holder::Nobody).then_some(Self { _socket: None }))
    }
}

/// Whether a link is there.
pub(crate) fn is_there(bridge: &str) -> Result<bool> {
    let found = RouteSocket::open().and_then(|mut socket| socket.link(bridge));
    Ok(found.map_err(|error| of_files(DOING, error))?.is_some())
}

/// Who has the socket of this name.
fn holder_of(name: &str) -> rustix::io::Result<Holder> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let called = connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?);
    let called = called.and_then(|()| socket_peercred(&socket)).map(|found| found.uid.as_raw());
    Ok(holder(called, || unix_owner(name), rustix::process::geteuid().as_raw()))
}

/// Who it is that answered to a call as this user, or did not answer; then the kernel may know the owner.
fn holder(
    called: rustix::io::Result<u32>,
    owner: impl FnOnce() -> std::result::Result<Option<u32>, NetlinkError>,
    own: u32,
) -> Holder {
    let known = match called {
        Ok(user) => Some(user),
        Err(errno) => match owner() {
            Ok(found) => found,
            // Not every kernel tells. A full queue has somebody who listens, as claimants do.
            Err(_) if errno == Errno::AGAIN => return Holder::Claimant,
            Err(_) => return Holder::Mute,
        },
    };
    match known {
        Some(user) if user == own => Holder::Claimant,
        Some(_) => Holder::Stranger,
        None => Holder::Nobody,
    }
}

#[cfg(test)]
mod tests;
