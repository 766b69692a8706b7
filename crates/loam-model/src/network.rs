//! The network seam: attaching a container's network namespace to networks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use serde_json::{Map, Value};

use crate::{ContainerId, NetworkName, Result};

mod administration;
mod choice;
mod mac;
mod metadata;
mod subnet;

pub use administration::{
    AddressDriver, Collected, KnownAttachment, NetworkDescription, NetworkListing, NetworkSource,
    NetworkSpec, NetworkerSpec, SubnetSpec,
};
pub use choice::{NetworkChoice, NetworkOptions};
pub use mac::{InvalidMac, MacAddress};
pub use metadata::ContainerMetadata;
pub use subnet::{InvalidSubnet, SubnetWish};

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
    /// The container's port; 0 is the host port's number.
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
    /// The networks, in order. The one that asks for it gives the default route, else the first.
    pub networks: &'a [NetworkChoice],
    /// Ports to publish on the network with the default route.
    pub ports: &'a [PortMapping],
    /// What else plugins may want.
    pub extras: AttachExtras<'a>,
}

/// What plugins may be told beside options and ports; whoever does not want it does not get it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttachExtras<'a> {
    /// Further capability arguments by their conventional names: `bandwidth`, `dns`, `ipRanges`, `cgroupPath`, … (CNI
    /// CONVENTIONS.md, "Dynamic Plugin specific Fields").
    pub capabilities: Option<&'a Map<String, Value>>,
    /// Pairs of `CNI_ARGS`, such as `K8S_POD_NAME`.
    pub arguments: &'a [(String, String)],
    /// What Garden knows of the container, for external networkers and plugins that are made for Cloud Foundry.
    pub metadata: Option<&'a ContainerMetadata>,
}

/// The request to attach a container, which runs, to one network more.
#[derive(Clone, Debug)]
pub struct ConnectRequest<'a> {
    /// The container.
    pub container: &'a ContainerId,
    /// Its name.
    pub name: &'a str,
    /// A path to its network namespace.
    pub namespace: PathBuf,
    /// The network. It gives a default route only when its options say so.
    pub network: &'a NetworkChoice,
    /// What else plugins may want.
    pub extras: AttachExtras<'a>,
}

/// The request to take a container off one network.
#[derive(Clone, Debug)]
pub struct DisconnectRequest<'a> {
    /// The container.
    pub container: &'a ContainerId,
    /// A path to its network namespace, if that still exists.
    pub namespace: Option<PathBuf>,
    /// The network.
    pub network: &'a NetworkName,
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
    /// The interfaces: the one of the network with the default route first, the others in the order of their networks.
    pub interfaces: Vec<AttachedInterface>,
    /// The ports with the host ports that were taken.
    pub ports: Vec<PortMapping>,
    /// Name servers that the networks gave; empty leaves the host's.
    pub name_servers: Vec<IpAddr>,
    /// Search domains that the networks gave.
    pub search_domains: Vec<String>,
    /// What an external networker said of the container, by Garden's names of properties.
    pub properties: BTreeMap<String, String>,
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
/// [`attach`](Self::attach) and [`connect`](Self::connect) are all or nothing: on failure everything that they made is
/// undone. [`detach`](Self::detach) and [`disconnect`](Self::disconnect) are idempotent and work from what the adapter
/// itself keeps on disk: after a crash at any point, and when the namespace is gone, they leave nothing behind, and are
/// success when there is nothing. Different containers may be attached and detached at once by different processes; the
/// caller never runs two operations for one container at once. What every implementation must pass is
/// `conformance::network`, behind the feature of that name.
pub trait Network: Send + Sync {
    /// Attaches a container's network namespace to networks and publishes its ports. The default network is made when
    /// it does not exist. A host port that another program or container has is [`crate::ErrorKind::AlreadyExists`];
    /// an address, a hardware address or ports that a network can't be asked for are [`crate::ErrorKind::Invalid`].
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment>;

    /// Undoes all attachments of a container and withdraws its ports.
    fn detach(&self, request: &DetachRequest<'_>) -> Result<()>;

    /// Attaches a container to one network more. One that it is on is [`crate::ErrorKind::AlreadyExists`].
    fn connect(&self, request: &ConnectRequest<'_>) -> Result<Attachment>;

    /// Takes a container off one network; the others stay.
    fn disconnect(&self, request: &DisconnectRequest<'_>) -> Result<()>;

    /// Verifies that a container's attachments are as they were made; one that has none passes. The namespace must exist.
    fn check(&self, request: &DetachRequest<'_>) -> Result<()>;

    /// The containers that have attachments, whole or half made.
    fn attached(&self) -> Result<Vec<ContainerId>>;

    /// Whether a network of this name exists (the default one always does).
    fn exists(&self, name: &NetworkName) -> Result<bool>;

    /// All networks.
    fn networks(&self) -> Result<NetworkListing>;

    /// One network.
    fn network(&self, name: &NetworkName) -> Result<NetworkDescription>;

    /// The attachments to a network, whole or half made.
    fn attachments(&self, name: &NetworkName) -> Result<Vec<KnownAttachment>>;

    /// Asks the plugins of a network whether they could attach a container now.
    fn status(&self, name: &NetworkName) -> Result<()>;

    /// Makes a network. A taken name, bridge or subnet is [`crate::ErrorKind::AlreadyExists`].
    fn create_network(&self, source: &NetworkSource) -> Result<NetworkDescription>;

    /// Removes a network that nothing is attached to, else it is [`crate::ErrorKind::Conflict`].
    fn remove_network(&self, name: &NetworkName) -> Result<()>;

    /// Removes what belongs to no attachment, of this network or of all: results that nobody has any more, and through
    /// the plugins what they know of. The caller has detached what it no longer has.
    fn collect(&self, name: Option<&NetworkName>) -> Result<Collected>;

    /// Puts back what others may have taken out of the kernel's firewall.
    fn reload(&self) -> Result<()>;

    /// Does so whenever somebody takes something out of it, and tells each time; ends only with a failure.
    fn watch(&self, restored: &mut dyn FnMut()) -> Result<()>;
}
