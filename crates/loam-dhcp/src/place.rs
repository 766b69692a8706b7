//! Where a lease's interface is: a link in a network namespace, which is found again by what tells it from others.
//!
//! The namespace has a path, which its container's runtime has given it. Keepers may see different things under one path: one
//! has a prefix for paths of the host, another is in a mount namespace of its own. So a path is kept as the caller said it,
//! and with it the [`View`] of the keeper that saw the namespace there. Only where that view is one's own does a path that is
//! gone mean that the container is.

use std::fmt::Debug;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loam_sys::PacketSocket;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::client::{Destination, Outgoing};
use crate::frame;
use crate::refusal::{Refusal, code};

const TO_ALL: [u8; 6] = [0xff; 6];

/// Links in network namespaces, which are named by descriptors.
pub trait Interfaces: Debug + Sync {
    /// Looks a link up by its name; `None` when there is none.
    fn look(&self, namespace: BorrowedFd<'_>, name: &str) -> Result<Option<Link>, Refusal>;
    /// Brings a link up.
    fn raise(&self, namespace: BorrowedFd<'_>, link: &Link) -> Result<(), Refusal>;
    /// Takes a link down.
    fn shut(&self, namespace: BorrowedFd<'_>, link: &Link) -> Result<(), Refusal>;
    /// Opens a packet socket on a link that hears what comes to a port of UDP.
    fn open_socket(&self, namespace: BorrowedFd<'_>, link: &Link, port: u16)
    -> Result<PacketSocket, Refusal>;
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub hardware: Vec<u8>,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it shares its hardware address with other links, which are told apart by address alone, so that it hears
    /// nothing that is sent to an address which it does not have yet.
    pub is_shared: bool,
}

/// From where paths are looked at: a mount namespace, the root directory in it, and what is put before paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    mounts: (u64, u64),
    root: (u64, u64),
    prefix: Option<PathBuf>,
}

impl View {
    /// This process's; `None` when the kernel does not tell.
    pub(crate) fn own(prefix: Option<&Path>) -> Option<Self> {
        let identity = |path: &str| rustix::fs::stat(path).ok().map(|found| (found.st_dev, found.st_ino));
        let (mounts, root) = (identity("/proc/self/ns/mnt")?, identity("/")?);
        Some(Self { mounts, root, prefix: prefix.map(Path::to_owned) })
    }

    /// A path of the host as it is seen from here: the prefix and the path, simply joined.
    pub(crate) fn beneath(prefix: Option<&Path>, path: &Path) -> PathBuf {
        let mut joined = prefix.unwrap_or(Path::new("")).as_os_str().to_owned();
        joined.push(path.as_os_str());
        joined.into()
    }
}

/// What tells an interface apart from all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The path of the namespace, as the caller has it.
    pub(crate) path: PathBuf,
    /// From where the namespace was seen there. Callers may see other paths than any keeper does.
    #[serde(default)]
    pub(crate) seen: Option<View>,
    /// The namespace's device and inode.
    pub(crate) namespace: (u64, u64),
    /// The link's index, name and hardware address.
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) hardware: [u8; 6],
    /// Whether answers must be sent to all.
    pub(crate) broadcast: bool,
}

/// An interface, with its namespace held open.
#[derive(Debug)]
pub(crate) struct Place {
    namespace: OwnedFd,
    interfaces: &'static dyn Interfaces,
    /// The path of the namespace from here.
    path: PathBuf,
    pub(crate) identity: Identity,
}

/// What has become of an interface.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is there.
    Same(Place),
    /// It is gone.
    Gone,
    /// Its namespace can't be seen from here.
    Unseen,
}

/// Whether a path leads to a namespace; `None` when that can't be told now.
fn leads_to(path: &Path, identity: (u64, u64)) -> Option<bool> {
    match rustix::fs::stat(path) {
        Ok(found) => Some((found.st_dev, found.st_ino) == identity),
        Err(Errno::NOENT | Errno::SRCH) => Some(false),
        Err(_) => None,
    }
}

/// From where a namespace is seen at a path, when it is.
fn seen(path: &Path, identity: (u64, u64), prefix: Option<&Path>) -> Option<View> {
    leads_to(path, identity).unwrap_or_default().then(|| View::own(prefix)).flatten()
}

fn identity(namespace: &OwnedFd) -> Result<(u64, u64), Errno> {
    let found = rustix::fs::fstat(namespace)?;
    Ok((found.st_dev, found.st_ino))
}

fn unusable(path: &Path) -> impl FnOnce(Errno) -> Refusal {
    let message = format!("network namespace `{}` can't be used", path.display());
    move |cause| Refusal::new(code::INVALID_NAMESPACE, message).because(&cause)
}

impl Place {
    /// Finds the interface that gets a lease, and brings it up: only then can it be asked over it.
    pub(crate) fn find(
        interfaces: &'static dyn Interfaces,
        namespace: OwnedFd,
        path: PathBuf,
        prefix: Option<&Path>,
        name: &str,
    ) -> Result<Self, Refusal> {
        let here = View::beneath(prefix, &path);
        let number = identity(&namespace).map_err(unusable(&path))?;
        let link = interfaces
            .look(namespace.as_fd(), name)?
            .ok_or_else(|| Refusal::new(code::INTERNAL, format!("interface `{name}` does not exist")))?;
        if !link.is_up {
            interfaces.raise(namespace.as_fd(), &link)?;
        }
        let hardware: [u8; 6] = link.hardware.as_slice().try_into().map_err(|_| {
            Refusal::new(code::INTERNAL, format!("interface `{name}` has no Ethernet address"))
        })?;
        let seen = seen(&here, number, prefix);
        let identity = Identity {
            path,
            seen,
            namespace: number,
            index: link.index,
            name: link.name,
            hardware,
            broadcast: link.is_shared,
        };
        Ok(Self { namespace, interfaces, path: here, identity })
    }

    /// Finds an interface again.
    pub(crate) fn find_again(
        interfaces: &'static dyn Interfaces,
        mut identity: Identity,
        prefix: Option<&Path>,
    ) -> Result<Found, Refusal> {
        let path = View::beneath(prefix, &identity.path);
        let view = View::own(prefix);
        if leads_to(&path, identity.namespace) == Some(false) {
            let is_view_of_then = view.is_some() && view == identity.seen;
            return Ok(if is_view_of_then { Found::Gone } else { Found::Unseen });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let namespace = rustix::fs::open(&path, flags, Mode::empty()).map_err(unusable(&path))?;
        if self::identity(&namespace).map_err(unusable(&path))? != identity.namespace {
            // It has changed just now; what it was is looked at the next time.
            return Ok(Found::Unseen);
        }
        identity.seen = view;
        Self { namespace, interfaces, path, identity }.verify()
    }

    /// Finds an interface again in a namespace that another keeper has held open.
    pub(crate) fn take_over(
        interfaces: &'static dyn Interfaces,
        namespace: OwnedFd,
        mut identity: Identity,
        prefix: Option<&Path>,
    ) -> Result<Found, Refusal> {
        let path = View::beneath(prefix, &identity.path);
        if self::identity(&namespace).map_err(unusable(&path))? != identity.namespace {
            let message = format!("network namespace `{}` is not the one of the lease", path.display());
            return Err(Refusal::new(code::INVALID_NAMESPACE, message));
        }
        identity.seen = seen(&path, identity.namespace, prefix);
        Self { namespace, interfaces, path, identity }.verify()
    }

    /// Numbers of namespaces and links are used again; the hardware address tells another container's from this one.
    fn verify(self) -> Result<Found, Refusal> {
        let is_same = self.link()?.is_some_and(|link| link.hardware == self.identity.hardware);
        Ok(if is_same { Found::Same(self) } else { Found::Gone })
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Whether a namespace and interface are this place's.
    pub(crate) fn is(&self, namespace: &OwnedFd, name: &str) -> bool {
        identity(namespace) == Ok(self.identity.namespace) && self.identity.name == name
    }

    /// The link, if it is still the same.
    pub(crate) fn link(&self) -> Result<Option<Link>, Refusal> {
        let found = self.interfaces.look(self.namespace.as_fd(), &self.identity.name)?;
        Ok(found.filter(|link| link.index == self.identity.index))
    }

    /// Whether the container is gone: nobody can enter a namespace without a path.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.identity.seen.is_some() && leads_to(&self.path, self.identity.namespace) == Some(false)
    }

    /// Opens a packet socket on the link.
    pub(crate) fn open_socket(&self) -> Result<PacketSocket, Refusal> {
        self.interfaces.open_socket(self.namespace.as_fd(), &self.as_link(), frame::CLIENT_PORT)
    }

    /// Takes the link down, as its address may have another owner.
    pub(crate) fn shut(&self) -> Result<(), Refusal> {
        self.interfaces.shut(self.namespace.as_fd(), &self.as_link())
    }

    /// The link as it was found.
    fn as_link(&self) -> Link {
        Link {
            index: self.identity.index,
            name: self.identity.name.clone(),
            hardware: self.identity.hardware.to_vec(),
            is_up: true,
            is_shared: self.identity.broadcast,
        }
    }
}

/// Sends a message of a client.
pub(crate) fn send(socket: &PacketSocket, outgoing: &Outgoing) -> io::Result<()> {
    let (address, hardware) = match outgoing.destination {
        Destination::All => (Ipv4Addr::BROADCAST, TO_ALL),
        Destination::Server(address, hardware) => (address, hardware),
    };
    let packet = frame::wrap(outgoing.message.client, address, &outgoing.message.encode());
    let packet = packet.ok_or_else(|| io::Error::other("the message is too long for a packet"))?;
    socket.send(&packet, hardware)
}
