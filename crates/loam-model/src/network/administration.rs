//! Networks themselves: what they are, and what is asked of a new one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ContainerId, LabelMap, NetworkName};

/// A subnet of a new network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetSpec {
    /// The subnet.
    pub subnet: IpNet,
    /// Its gateway; the subnet's first address when absent.
    pub gateway: Option<IpAddr>,
    /// The part that addresses are given from; all of the subnet when absent.
    pub range: Option<IpNet>,
}

/// Who gives addresses on a new network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressDriver {
    /// Subnets, kept on this host.
    HostLocal,
    /// A DHCP server on the network.
    Dhcp,
    /// Nobody.
    None,
}

/// A program that attaches containers in the place of plugins: an external networker, as Guardian calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkerSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before those that the action adds.
    pub arguments: Vec<String>,
    /// The host's address that it is told when a port is published; the one that the host sends from when absent.
    pub external_address: Option<IpAddr>,
}

/// What is asked of a new network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkSpec {
    /// The plugin that makes the interfaces: `bridge` when absent.
    pub driver: Option<String>,
    /// The host's interface that drivers such as `macvlan` stand on.
    pub parent: Option<String>,
    /// Subnets; free ones are chosen when there are none.
    pub subnets: Vec<SubnetSpec>,
    /// Who gives addresses; what suits driver and subnets when absent.
    pub addresses: Option<AddressDriver>,
    /// Whether containers reach nothing but each other.
    pub internal: bool,
    /// Whether there is IPv6 beside IPv4; where nothing is said, as the host has it.
    pub ipv6: Option<bool>,
    /// The largest packet in bytes; the kernel's choice when absent.
    pub mtu: Option<u32>,
    /// Whether containers of the network are kept from each other.
    pub isolate: bool,
    /// Whether each container is in a subnet and on a bridge of its own, unless it asks for one with others.
    pub subnet_per_container: bool,
    /// Who attaches containers, where that is a program and no plugin.
    pub networker: Option<NetworkerSpec>,
    /// Name servers of its containers.
    pub name_servers: Vec<IpAddr>,
    /// Labels.
    pub labels: LabelMap,
    /// Keys of the driver's own.
    pub options: BTreeMap<String, String>,
}

/// Where the configuration of a new network comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkSource {
    /// It is made from these wishes, under this name.
    Spec(NetworkName, Box<NetworkSpec>),
    /// It is this text of a CNI configuration list, which has the name in it.
    Configuration(String),
}

/// A network, as its configuration says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkDescription {
    /// Its name.
    pub name: NetworkName,
    /// The plugin that makes the interfaces.
    pub driver: String,
    /// All plugins, in order.
    pub plugins: Vec<String>,
    /// The version of the CNI specification that is spoken with them.
    pub cni_version: String,
    /// The bridge or the parent interface on the host.
    pub interface: Option<String>,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Whether it was made to lead nowhere.
    pub internal: bool,
    /// What its plugins can be asked for, such as `portMappings` and `ips`.
    pub capabilities: Vec<String>,
    /// Its labels.
    pub labels: LabelMap,
    /// The file that describes it; absent for the default network before it was first used.
    pub file: Option<PathBuf>,
    /// The whole configuration.
    pub configuration: Value,
}

/// The networks there are, and what is wrong with files that describe none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkListing {
    /// The networks, by name.
    pub networks: Vec<NetworkDescription>,
    /// A sentence for each file that can't be used.
    pub problems: Vec<String>,
}

/// An attachment that the adapter knows of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAttachment {
    /// The container.
    pub container: ContainerId,
    /// The interface's name in the container.
    pub interface: String,
}

/// What a collection of garbage came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Networks whose plugins were asked to collect.
    pub networks: Vec<NetworkName>,
    /// Attachments that were undone because nobody had them any more.
    pub attachments: Vec<KnownAttachment>,
}
