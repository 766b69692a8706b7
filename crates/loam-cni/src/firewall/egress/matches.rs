//! The conditions of a rule, in all combinations that it comes to.

use std::net::IpAddr;

use super::super::elements::address_bytes;
use super::super::ruleset::{DESTINATION_PORT, DESTINATION4, DESTINATION6, INET4, INET6};
use super::list::{AddressRange, Icmp, PortRange, Protocol, Rule};
use crate::nftables::{Comparison, Field};

use Comparison::{AtLeast, AtMost, Equal};

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// One condition of a rule: what is loaded, and what it is compared with.
pub(super) type Matches = Vec<(Field, Vec<(Comparison, Vec<u8>)>)>;

/// Every network with every range of ports.
pub(super) fn combinations(rule: &Rule) -> Vec<Matches> {
    let protocols = protocol(&rule.protocol);
    let networks: Vec<Matches> =
        if rule.networks.is_empty() { vec![Vec::new()] } else { rule.networks.iter().map(network).collect() };
    let with = |network: &Matches, protocol: &Matches| [network.as_slice(), protocol.as_slice()].concat();
    networks.iter().flat_map(|network| protocols.iter().map(|protocol| with(network, protocol))).collect()
}

fn between(first: Vec<u8>, last: Vec<u8>) -> Vec<(Comparison, Vec<u8>)> {
    if first == last { vec![(Equal, first)] } else { vec![(AtLeast, first), (AtMost, last)] }
}

fn network(range: &AddressRange) -> Matches {
    let (family, destination) = match range.first {
        IpAddr::V4(_) => (INET4, DESTINATION4),
        IpAddr::V6(_) => (INET6, DESTINATION6),
    };
    let mut matches = vec![(Field::Family, vec![(Equal, vec![family])])];
    if *range != AddressRange::all(range.first.is_ipv4()) {
        matches.push((destination, between(address_bytes(range.first), address_bytes(range.last))));
    }
    matches
}

/// The alternatives of a protocol.
fn protocol(protocol: &Protocol) -> Vec<Matches> {
    let number = |number: u8| (Field::TransportProtocol, vec![(Equal, vec![number])]);
    let bytes = |port: u16| port.to_be_bytes().to_vec();
    let ports = |kind: u8, ranges: &[PortRange]| -> Vec<Matches> {
        if ranges.is_empty() {
            return vec![vec![number(kind)]];
        }
        let with = |range: &PortRange| (DESTINATION_PORT, between(bytes(range.first), bytes(range.last)));
        ranges.iter().map(|range| vec![number(kind), with(range)]).collect()
    };
    let messages = |kind: u8, icmp: &Option<Icmp>| {
        let mut matches = vec![number(kind)];
        if let Some(icmp) = icmp {
            matches.push((Field::Transport(0, 1), vec![(Equal, vec![icmp.kind])]));
            matches.extend(icmp.code.map(|code| (Field::Transport(1, 1), vec![(Equal, vec![code])])));
        }
        vec![matches]
    };
    match protocol {
        Protocol::All => vec![Vec::new()],
        Protocol::Tcp(ranges) => ports(TCP, ranges),
        Protocol::Udp(ranges) => ports(UDP, ranges),
        Protocol::Icmp(icmp) => messages(ICMP, icmp),
        Protocol::IcmpV6(icmp) => messages(ICMPV6, icmp),
    }
}
