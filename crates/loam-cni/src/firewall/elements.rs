//! What the sets and maps hold.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::egress::RULED;
use super::records::{AdmissionRecord, NetworkRecord, PortsRecord};
use super::ruleset::{
    ADDRESSED4, ADDRESSED6, ADMITTED4, ADMITTED6, BRIDGES, EVERYONE4, EVERYONE6, GUARDED, HAIRPIN4, HAIRPIN6,
    PORTS4, PORTS6, SOURCES4, SOURCES6, WITHIN,
};
use crate::nftables::{Batch, Element};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl TransportProtocol {
    /// The name, lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            TransportProtocol::Tcp => "tcp",
            TransportProtocol::Udp => "udp",
            TransportProtocol::Sctp => "sctp",
        }
    }

    /// The number in the network header.
    pub fn number(self) -> u8 {
        match self {
            TransportProtocol::Tcp => 6,
            TransportProtocol::Udp => 17,
            TransportProtocol::Sctp => 132,
        }
    }
}

/// One published port, for one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mapping {
    /// The host's address; all of the target's family when absent.
    pub host_address: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The protocol.
    pub protocol: TransportProtocol,
    /// The container's address.
    pub target: IpAddr,
    /// The container's port.
    pub target_port: u16,
}

impl fmt::Display for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host_port, self.protocol.as_str())?;
        if let Some(address) = self.host_address {
            write!(formatter, " of {address}")?;
        }
        Ok(())
    }
}

pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A port as part of a concatenation: in network order, filled up to four bytes.
fn port_bytes(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// The element of a published port, and the map that it belongs into.
pub(super) fn port(mapping: &Mapping, comment: &str) -> (&'static str, Element) {
    let mut key = mapping.host_address.map(address_bytes).unwrap_or_default();
    key.extend_from_slice(&[mapping.protocol.number(), 0, 0, 0]);
    key.extend_from_slice(&port_bytes(mapping.host_port));
    let mut value = address_bytes(mapping.target);
    value.extend_from_slice(&port_bytes(mapping.target_port));
    let set = match (mapping.host_address.is_some(), mapping.target) {
        (true, IpAddr::V4(_)) => ADDRESSED4,
        (true, IpAddr::V6(_)) => ADDRESSED6,
        (false, IpAddr::V4(_)) => PORTS4,
        (false, IpAddr::V6(_)) => PORTS6,
    };
    (set, Element { key, value: Some(value), comment: Some(comment.to_owned()), ..Element::default() })
}

/// The elements of published ports.
pub(super) fn ports(mappings: &[Mapping], comment: &str) -> Vec<(&'static str, Element)> {
    mappings.iter().map(|mapping| port(mapping, comment)).collect()
}

/// A subnet as a range of an interval set: its first address, and the first beyond.
fn range(net: &IpNet) -> Vec<Element> {
    let first = address_bytes(net.network());
    let mut elements = vec![Element { key: first, ..Element::default() }];
    let end = match net.broadcast() {
        IpAddr::V4(last) => u32::from(last).checked_add(1).map(|end| end.to_be_bytes().to_vec()),
        IpAddr::V6(last) => u128::from(last).checked_add(1).map(|end| Ipv6Addr::from(end).octets().to_vec()),
    };
    elements.extend(end.map(|key| Element { key, interval_end: true, ..Element::default() }));
    elements
}

fn subnets(
    nets: &[IpNet],
    four: &'static str,
    six: &'static str,
) -> impl Iterator<Item = (&'static str, Element)> {
    nets.iter().flat_map(move |net| {
        let set = if net.addr().is_ipv4() { four } else { six };
        range(net).into_iter().map(move |element| (set, element))
    })
}

/// The elements of a network's masquerade.
pub(super) fn sources(record: &NetworkRecord) -> Vec<(&'static str, Element)> {
    subnets(&record.sources, SOURCES4, SOURCES6).collect()
}

/// The elements that published ports need beside themselves.
pub(super) fn surroundings(record: &PortsRecord) -> Vec<(&'static str, Element)> {
    let mut elements: Vec<_> = subnets(&record.hairpin, HAIRPIN4, HAIRPIN6).collect();
    elements.extend(record.bridge.as_deref().map(bridge));
    elements
}

/// The element of a link over which the host's loopback reaches published ports.
pub(super) fn bridge(link: &str) -> (&'static str, Element) {
    (BRIDGES, Element { key: link_bytes(link), ..Element::default() })
}

/// The name of a link, filled up.
pub(super) fn link_bytes(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

/// An address as element of one of two sets.
fn address(address: IpAddr, four: &'static str, six: &'static str, comment: &str) -> (&'static str, Element) {
    let set = if address.is_ipv4() { four } else { six };
    let key = address_bytes(address);
    (set, Element { key, comment: Some(comment.to_owned()), ..Element::default() })
}

/// The elements that have all clients of published ports masqueraded.
pub(super) fn everyone(record: &PortsRecord, comment: &str) -> Vec<(&'static str, Element)> {
    let mut targets: Vec<IpAddr> = record.mappings.iter().map(|mapping| mapping.target).collect();
    targets.sort_unstable();
    targets.dedup();
    targets.retain(|_| record.masquerade_all);
    targets.into_iter().map(|target| address(target, EVERYONE4, EVERYONE6, comment)).collect()
}

/// The elements of an attachment's addresses that are let through.
pub(super) fn admitted(record: &AdmissionRecord, comment: &str) -> Vec<(&'static str, Element)> {
    record.addresses.iter().map(|one| address(*one, ADMITTED4, ADMITTED6, comment)).collect()
}

/// The element of a bridge whose containers others don't reach.
pub(super) fn guarded(bridge: &str) -> (&'static str, Element) {
    (GUARDED, Element { key: link_bytes(bridge), ..Element::default() })
}

/// The element of a bridge whose containers reach each other.
pub(super) fn within(bridge: &str) -> (&'static str, Element) {
    let mut key = link_bytes(bridge);
    key.extend(link_bytes(bridge));
    (WITHIN, Element { key, ..Element::default() })
}

/// All that the table may have for a network's subnets and its bridge, in parts of which each is there whole or not at all.
pub(super) fn of_network(subnets_of: &[IpNet], link: Option<&str>) -> Vec<Vec<(&'static str, Element)>> {
    let mut parts = Vec::new();
    for net in subnets_of {
        let net = std::slice::from_ref(net);
        parts.push(subnets(net, SOURCES4, SOURCES6).collect());
        parts.push(subnets(net, HAIRPIN4, HAIRPIN6).collect());
    }
    if let Some(link) = link {
        let ruled = (RULED, Element { key: link_bytes(link), ..Element::default() });
        parts.extend([bridge(link), guarded(link), within(link), ruled].map(|element| vec![element]));
    }
    parts
}

/// Has a batch delete elements of one set.
pub(super) fn delete(batch: &mut Batch, elements: &[(&'static str, Element)]) {
    if let Some((set, _)) = elements.first() {
        let some: Vec<Element> = elements.iter().map(|(_, element)| element.clone()).collect();
        batch.delete_elements(set, &some);
    }
}

/// Adds elements to a batch, those of one set together.
pub(super) fn add(batch: &mut Batch, elements: &[(&'static str, Element)], exclusive: bool) {
    for part in elements.chunk_by(|(one, _), (other, _)| one == other) {
        let some: Vec<Element> = part.iter().map(|(_, element)| element.clone()).collect();
        batch.add_elements(part[0].0, &some, exclusive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_encoded_as_nft_does() {
        // As captured from `add element … { tcp . 8080 : 10.90.0.2 . 80 }`.
        let mapping = Mapping {
            host_address: None,
            host_port: 8080,
            protocol: TransportProtocol::Tcp,
            target: "10.90.0.2".parse().expect("valid"),
            target_port: 80,
        };
        let (set, element) = port(&mapping, "abc");
        assert_eq!(set, PORTS4);
        assert_eq!(element.key, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(element.value, Some(vec![10, 90, 0, 2, 0, 80, 0, 0]));
        let (set, element) = port(&Mapping { host_address: "127.0.0.1".parse().ok(), ..mapping }, "abc");
        assert_eq!((set, element.key.len()), (ADDRESSED4, 12));
        assert_eq!(mapping.to_string(), "8080/tcp");
    }

    #[test]
    fn a_subnet_is_a_range_that_may_reach_the_end() {
        let elements = range(&"10.90.0.0/16".parse().expect("valid"));
        assert_eq!(elements[0].key, [10, 90, 0, 0]);
        assert_eq!((elements[1].key.as_slice(), elements[1].interval_end), (&[10, 91, 0, 0][..], true));
        assert_eq!(range(&"128.0.0.0/1".parse().expect("valid")).len(), 1);
        let elements = range(&"fd00::/64".parse().expect("valid"));
        assert_eq!(elements[1].key, "fd00:0:0:1::".parse::<Ipv6Addr>().expect("valid").octets());
    }
}
