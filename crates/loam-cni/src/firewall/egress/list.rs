//! A list of rules, and what makes it a valid one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
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

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Messages of ICMP or ICMPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code; all when absent.
    pub code: Option<u8>,
}

/// The protocol of a rule, with what it has to tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Every protocol.
    #[default]
    All,
    /// TCP to these destination ports; to all when there are none.
    Tcp(Vec<PortRange>),
    /// UDP to these destination ports; to all when there are none.
    Udp(Vec<PortRange>),
    /// ICMP; all messages when there is none.
    Icmp(Option<Icmp>),
    /// ICMPv6; all messages when there is none.
    IcmpV6(Option<Icmp>),
}

/// One rule. It matches when the protocol and one of the networks do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What becomes of what matches.
    pub action: Action,
    /// The protocol.
    pub protocol: Protocol,
    /// Destinations; all when there are none.
    pub networks: Vec<AddressRange>,
    /// Whether new connections are written to the kernel's log.
    #[serde(default)]
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
pub struct RuleList {
    /// The rules.
    pub rules: Vec<Rule>,
    /// What becomes of what none matches.
    pub otherwise: Action,
    /// How many connections may be begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<ConnectionRate>,
    /// What a line of the kernel's log begins with; part of the list only when something is logged.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_prefix: String,
    /// The most lines a second; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_per_second: Option<u32>,
    /// Whether what no rule matches, and is refused, is written to the kernel's log.
    #[serde(default)]
    pub log_refused: bool,
}

/// Why a list of rules can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRules {
    /// The ends of a range are not of one family, or in the wrong order.
    #[error("`{0}` is no range of addresses")]
    Addresses(AddressRange),
    /// The ends of a range are in the wrong order.
    #[error("`{}-{}` is no range of ports", .0.first, .0.last)]
    Ports(PortRange),
    /// The rate allows nothing.
    #[error("a connection rate must be at least 1 a second")]
    Rate,
    /// There are too many.
    #[error("the rules come to {0} combinations of network and ports, more than {most}", most = RuleList::MOST)]
    TooMany(usize),
}

impl AddressRange {
    /// All addresses of a family.
    pub fn all(four: bool) -> Self {
        if four {
            Self { first: Ipv4Addr::UNSPECIFIED.into(), last: Ipv4Addr::BROADCAST.into() }
        } else {
            Self { first: Ipv6Addr::UNSPECIFIED.into(), last: Ipv6Addr::from(u128::MAX).into() }
        }
    }
}

impl From<ipnet::IpNet> for AddressRange {
    fn from(net: ipnet::IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

impl Rule {
    /// How many rules of the kernel it comes to.
    fn combinations(&self) -> usize {
        let ports = match &self.protocol {
            Protocol::Tcp(ports) | Protocol::Udp(ports) => ports.len(),
            _ => 1,
        };
        self.networks.len().max(1).saturating_mul(ports.max(1))
    }
}

impl RuleList {
    /// The most combinations of network and ports in one list.
    pub const MOST: usize = 20_000;

    /// Everything passes.
    pub fn allow() -> Self {
        Self::default()
    }

    /// Nothing passes.
    pub fn reject() -> Self {
        Self { otherwise: Action::Reject, ..Self::default() }
    }

    /// Whether anything is logged.
    pub(super) fn logs(&self) -> bool {
        self.log_refused || self.rules.iter().any(|rule| rule.log)
    }

    /// Verifies the list.
    pub fn validate(&self) -> Result<(), InvalidRules> {
        for rule in &self.rules {
            let wrong = |range: &&AddressRange| {
                range.first.is_ipv4() != range.last.is_ipv4() || range.first > range.last
            };
            if let Some(range) = rule.networks.iter().find(wrong) {
                return Err(InvalidRules::Addresses(*range));
            }
            if let Protocol::Tcp(ports) | Protocol::Udp(ports) = &rule.protocol
                && let Some(range) = ports.iter().find(|range| range.first > range.last)
            {
                return Err(InvalidRules::Ports(*range));
            }
        }
        if self.rate.is_some_and(|rate| rate.per_second == 0) {
            return Err(InvalidRules::Rate);
        }
        let combinations = self.rules.iter().map(Rule::combinations).fold(0, usize::saturating_add);
        if combinations > Self::MOST { Err(InvalidRules::TooMany(combinations)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange { first: first.parse().expect("valid"), last: last.parse().expect("valid") }
    }

    fn of(rule: Rule) -> RuleList {
        RuleList { rules: vec![rule], ..RuleList::reject() }
    }

    #[test]
    fn ranges_must_make_sense() {
        let networks = |first, last| of(Rule { networks: vec![range(first, last)], ..Rule::default() });
        networks("10.0.0.1", "10.0.0.1").validate().expect("one address is a range");
        let error = networks("10.0.0.2", "10.0.0.1").validate().expect_err("backwards");
        assert_eq!(error.to_string(), "`10.0.0.2-10.0.0.1` is no range of addresses");
        networks("10.0.0.2", "fd00::1").validate().expect_err("two families");
        let ports =
            of(Rule { protocol: Protocol::Tcp(vec![PortRange { first: 90, last: 80 }]), ..Rule::default() });
        assert_eq!(ports.validate().expect_err("backwards").to_string(), "`90-80` is no range of ports");
    }

    #[test]
    fn what_a_list_comes_to_is_bounded() {
        let rule = Rule {
            protocol: Protocol::Udp(vec![PortRange { first: 1, last: 1 }; 200]),
            networks: vec![range("10.0.0.1", "10.0.0.1"); 101],
            ..Rule::default()
        };
        assert_eq!(of(rule).validate(), Err(InvalidRules::TooMany(20_200)));
        let rate = Some(ConnectionRate { per_second: 0, burst: 1 });
        assert_eq!(RuleList { rate, ..RuleList::allow() }.validate(), Err(InvalidRules::Rate));
    }
}
