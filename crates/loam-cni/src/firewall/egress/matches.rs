//! The conditions of a rule, in all combinations that it comes to.
//!
//! What the kernel takes for a rule is mostly to find and set up its expressions, so there are as few as can be: nothing
//! tells the family, as the maps that lead to a chain have, and protocol and port are compared as one value.

use std::net::IpAddr;

use super::super::elements::address_bytes;
use super::super::ruleset::{DESTINATION_PORT, DESTINATION4, DESTINATION6};
use super::Family;
use super::list::{AddressRange, Icmp, PortRange, Protocol, Rule};
use crate::nftables::{Comparison, Expression, Field};

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// The register of what is compared, and the one four bytes after it.
const REGISTERS: [u32; 2] = [8, 9];

/// One condition of a rule: what is loaded into registers of four bytes, and the values that it must lie between.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    loads: Vec<Field>,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// What a packet must be for a rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Matches {
    conditions: Vec<Condition>,
    /// The destinations, for people: without a comparison of the family `nft` lists them as bare numbers.
    pub(super) comment: Option<String>,
    /// The transport protocol, if it is one.
    pub(super) protocol: Option<u8>,
}

impl Condition {
    fn equal(field: Field, value: u8) -> Self {
        Self { loads: vec![field], first: vec![value], last: vec![value] }
    }
}

impl Matches {
    /// As expressions.
    pub(super) fn expressions(&self) -> Vec<Expression<'_>> {
        let mut expressions = Vec::with_capacity(12);
        for Condition { loads, first, last } in &self.conditions {
            let loads = loads.iter().zip(REGISTERS);
            expressions.extend(loads.map(|(field, register)| Expression::Load(*field, register)));
            expressions.push(match first == last {
                true => Expression::Compare(REGISTERS[0], Comparison::Equal, first),
                false => Expression::Between(REGISTERS[0], first, last),
            });
        }
        expressions
    }
}

/// Every network of a family with every range of ports.
pub(super) fn combinations(rule: &Rule, family: Family) -> Vec<Matches> {
    let protocols = protocol(&rule.protocol);
    let networks: Vec<Option<&AddressRange>> = match rule.networks.is_empty() {
        true => vec![None],
        false => rule.networks.iter().filter(|range| family.has(range.first)).map(some).collect(),
    };
    let with = |network: &Option<&AddressRange>, protocol: &Matches| Matches {
        conditions: network
            .map(destinations)
            .into_iter()
            .chain(protocol.conditions.iter().cloned())
            .collect(),
        comment: network.map(|range| format!("to {range}")),
        protocol: protocol.protocol,
    };
    networks.iter().flat_map(|network| protocols.iter().map(|protocol| with(network, protocol))).collect()
}

/// A range; `None` when it is all addresses of its family.
fn some(range: &AddressRange) -> Option<&AddressRange> {
    (*range != AddressRange::all(range.first.is_ipv4())).then_some(range)
}

fn destinations(range: &AddressRange) -> Condition {
    let destination = match range.first {
        IpAddr::V4(_) => DESTINATION4,
        IpAddr::V6(_) => DESTINATION6,
    };
    Condition { loads: vec![destination], first: address_bytes(range.first), last: address_bytes(range.last) }
}

/// The alternatives of a protocol.
fn protocol(protocol: &Protocol) -> Vec<Matches> {
    let matches = |number: u8, conditions| Matches { conditions, comment: None, protocol: Some(number) };
    let is = |number: u8| Condition::equal(Field::TransportProtocol, number);
    let ports = |number: u8, ranges: &[PortRange]| -> Vec<Matches> {
        if ranges.is_empty() {
            return vec![matches(number, vec![is(number)])];
        }
        ranges.iter().map(|range| matches(number, vec![port(number, range)])).collect()
    };
    let messages = |number: u8, icmp: &Option<Icmp>| {
        let mut conditions = vec![is(number)];
        if let Some(icmp) = icmp {
            conditions.push(Condition::equal(Field::Transport(0, 1), icmp.kind));
            conditions.extend(icmp.code.map(|code| Condition::equal(Field::Transport(1, 1), code)));
        }
        vec![matches(number, conditions)]
    };
    match protocol {
        Protocol::All => vec![Matches::default()],
        Protocol::Tcp(ranges) => ports(TCP, ranges),
        Protocol::Udp(ranges) => ports(UDP, ranges),
        Protocol::Icmp(icmp) => messages(ICMP, icmp),
        Protocol::IcmpV6(icmp) => messages(ICMPV6, icmp),
    }
}

/// A range of ports of a protocol: both in one value, of which the protocol is the same at both ends.
fn port(protocol: u8, range: &PortRange) -> Condition {
    // What is shorter than its register is followed by zeros there.
    let value = |port: u16| {
        let [high, low] = port.to_be_bytes();
        vec![protocol, 0, 0, 0, high, low, 0, 0]
    };
    Condition {
        loads: vec![Field::TransportProtocol, DESTINATION_PORT],
        first: value(range.first),
        last: value(range.last),
    }
}
