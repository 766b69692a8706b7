//! The network seam: attaching a container's network namespace to networks.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, NetworkName, Result};

/// The protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The name, lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port published on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address to listen at; all when absent.
    pub host_address: Option<IpAddr>,
    /// The host's port; 0 takes a free one.
    pub host_port: u16,
    /// The container's port, 1 to 65535.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// The request for an attachment.
#[derive(Clone, Debug)]
pub struct AttachRequest<'a> {
    /// The container.
    pub container: &'a ContainerId,
    /// Its name, for networks that keep names.
    pub name: &'a str,
    /// A path to its network namespace, such as `/proc/PID/ns/net`.
    pub namespace: PathBuf,
    /// The networks, in order; the first gives the default route. Interfaces are `eth0`, `eth1`, …
    pub networks: &'a [NetworkName],
    /// Ports to publish on the first network.
    pub ports: &'a [PortMapping],
}

/// One interface that an attachment made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedInterface {
    /// The network.
    pub network: NetworkName,
    /// The interface's name in the container.
    pub name: String,
    /// Its hardware address, if known.
    pub mac: Option<String>,
    /// Its addresses with prefix length.
    pub addresses: Vec<IpNet>,
    /// Gateways of those addresses.
    pub gateways: Vec<IpAddr>,
}

/// What came of an attachment.
#[derive(Debug, Default)]
pub struct Attachment {
    /// The interfaces, in the order of the networks.
    pub interfaces: Vec<AttachedInterface>,
    /// The ports with the host ports that were taken.
    pub ports: Vec<PortMapping>,
    /// Name servers that the networks gave; empty leaves the host's.
    pub name_servers: Vec<IpAddr>,
    /// Search domains that the networks gave.
    pub search_domains: Vec<String>,
    /// Sockets bound (never listening) to the published host ports so that no other program takes them; to be kept
    /// open, by the shim, as long as the container runs.
    pub reservations: Vec<OwnedFd>,
}

/// Undoes an attachment.
#[derive(Clone, Debug)]
pub struct DetachRequest<'a> {
    /// The container.
    pub container: &'a ContainerId,
    /// The namespace, if it still exists.
    pub namespace: Option<PathBuf>,
}

/// The network seam.
///
/// [`attach`](Self::attach) is all or nothing: on failure everything that it made is undone. [`detach`](Self::detach)
/// is idempotent and works from what the adapter itself keeps on disk: after a crash at any point in `attach`, and
/// when the namespace is gone, it leaves nothing behind, and it is success when there is nothing. Different containers
/// may be attached and detached at once by different processes; the caller never runs two operations for one container
/// at once.
pub trait Network: Send + Sync {
    /// Attaches a container's network namespace to networks and publishes its ports. The default network is made when
    /// it does not exist. A host port that another program or container has is [`crate::ErrorKind::AlreadyExists`].
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment>;

    /// Undoes all attachments of a container and withdraws its ports.
    fn detach(&self, request: &DetachRequest<'_>) -> Result<()>;

    /// The containers that have attachments, whole or half made.
    fn attached(&self) -> Result<Vec<ContainerId>>;

    /// Whether a network of this name exists (the default one always does).
    fn exists(&self, name: &NetworkName) -> Result<bool>;
}
