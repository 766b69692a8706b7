//! The network seam's rules: what a container may reach.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Network, PortMapping, Result};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EgressAction {
    /// It passes.
    #[default]
    Allow,
    /// It is refused, and the sender is told.
    Reject,
}

/// Addresses from the first to the last, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl From<ipnet::IpNet> for AddressRange {
    fn from(net: ipnet::IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Messages of ICMP or ICMPv6 (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpMessages {
    /// The type.
    pub kind: u8,
    /// The code; all when absent.
    pub code: Option<u8>,
}

/// The protocol of a rule, with what it has to tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EgressProtocol {
    /// Every protocol.
    #[default]
    All,
    /// TCP to these destination ports; to all when there are none.
    Tcp(Vec<PortRange>),
    /// UDP to these destination ports; to all when there are none.
    Udp(Vec<PortRange>),
    /// ICMP; all messages when there is none.
    Icmp(Option<IcmpMessages>),
    /// ICMPv6; all messages when there is none.
    IcmpV6(Option<IcmpMessages>),
}

/// One rule. It matches when the protocol and one of the networks do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    /// What becomes of what matches.
    pub action: EgressAction,
    /// The protocol.
    pub protocol: EgressProtocol,
    /// Destinations; all when there are none.
    pub networks: Vec<AddressRange>,
    /// Whether new connections are written to the kernel's log.
    pub log: bool,
}

/// How many TCP connections a container may begin to one address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRate {
    /// Connections a second.
    pub per_second: u32,
    /// Connections beyond that at once.
    pub burst: u32,
}

/// Rules; the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressList {
    /// The rules.
    pub rules: Vec<EgressRule>,
    /// What becomes of what none matches.
    pub otherwise: EgressAction,
    /// How many connections may be begun; no limit when absent.
    pub rate: Option<ConnectionRate>,
    /// What a line of the kernel's log begins with.
    pub log_prefix: String,
    /// The most lines of the log a second; no limit when absent.
    pub logs_per_second: Option<u32>,
    /// Whether what no rule matches, and is refused, is written to the kernel's log.
    pub log_refused: bool,
}

/// What a container may reach. Answers on connections that others began pass always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressPolicy {
    /// What is passed on to others.
    pub to_others: EgressList,
    /// What is for this host's own addresses.
    pub to_host: EgressList,
    /// Whether nothing shall pass with a source address that is not the container's.
    pub guarded: bool,
}

/// The rules of attached containers.
pub trait NetworkRules: Network {
    /// Sets what an attached container may reach, in place of what was set before, all at once. It ends with the
    /// attachment. Rules that contradict themselves are [`crate::ErrorKind::Invalid`], a container that is not attached
    /// is [`crate::ErrorKind::NotFound`], what whoever attached it can't promise is [`crate::ErrorKind::Unsupported`],
    /// and then nothing has changed.
    fn restrict(&self, container: &ContainerId, policy: &EgressPolicy) -> Result<()>;

    /// Publishes more ports of an attached container, whose network namespace is at the path; returns them with
    /// the host ports that were chosen. Nothing is returned that keeps these from other programs. Either all are published or none; whoever can take
    /// none back publishes one at a time, and more are [`crate::ErrorKind::Unsupported`].
    fn publish(
        &self,
        container: &ContainerId,
        namespace: &Path,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>>;
}
