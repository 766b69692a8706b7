//! What the records of each kind hold.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::elements::Mapping;
use super::super::senders::SenderRecord;
use crate::records::OwnedRecord;

/// What is masqueraded for a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its subnets.
    pub sources: Vec<IpNet>,
}

/// What is published for an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsRecord {
    /// The network.
    pub network: String,
    /// The link that leads to the container, if the host's loopback shall reach it.
    #[serde(default)]
    pub bridge: Option<String>,
    /// Whether that link is of this container alone, and goes with it: its end of a pair rather than a bridge.
    #[serde(default)]
    pub own_link: bool,
    /// The subnets whose own traffic to published ports is masqueraded.
    #[serde(default)]
    pub hairpin: Vec<IpNet>,
    /// Whether clients of published ports are all masqueraded.
    #[serde(default)]
    pub masquerade_all: bool,
    /// The ports.
    pub mappings: Vec<Mapping>,
}

/// What is let through for an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionRecord {
    /// The network.
    pub network: String,
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The bridge whose containers only those on it may reach, or none.
    #[serde(default)]
    pub bridge: Option<String>,
    /// Whether containers on that bridge reach each other.
    #[serde(default)]
    pub within: bool,
    /// What lets addresses through that are not in the table.
    #[serde(default)]
    pub elsewhere: Option<Elsewhere>,
    /// What earlier ADDs have set with other backends, until it is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<Elsewhere>,
}

/// What lets an attachment's addresses through in the table's stead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The backend's name.
    pub backend: String,
    /// firewalld's zone.
    #[serde(default)]
    pub zone: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// That an attachment has a chain of iptables, whose name follows from network and container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainRecord<const MASQUERADE: bool> {
    /// The network.
    pub network: String,
}

impl OwnedRecord for PortsRecord {
    const DIRECTORY: &'static str = "ports";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for AdmissionRecord {
    const DIRECTORY: &'static str = "admissions";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for SenderRecord {
    const DIRECTORY: &'static str = "senders";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for ChainRecord<true> {
    const DIRECTORY: &'static str = "iptables-masquerade";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for ChainRecord<false> {
    const DIRECTORY: &'static str = "iptables-ports";
    fn network(&self) -> &str {
        &self.network
    }
}
