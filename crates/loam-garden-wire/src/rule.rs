//! Rules on what containers may reach (`garden.NetOutRule`). They allow; first come the later ones.

use std::net::IpAddr;

use loam_model::{
    AddressRange, EgressAction, EgressList, EgressPolicy, EgressProtocol, EgressRule, IcmpMessages, PortRange,
};
use serde::{Deserialize, Serialize};

use crate::{is_zero, or_nothing};

/// A rule that allows something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetOutRule {
    /// 0 all, 1 TCP, 2 UDP, 3 ICMP, 4 ICMPv6.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub protocol: u8,
    /// Destinations; all when there are none.
    #[serde(default, deserialize_with = "or_nothing", skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpRange>,
    /// Destination ports; all when there are none.
    #[serde(default, deserialize_with = "or_nothing", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Ports>,
    /// Messages of ICMP; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmps: Option<Icmps>,
    /// Whether new connections are written to the kernel's log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log: bool,
}

/// Addresses, both ends included; one end alone is one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpRange {
    /// The first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<IpAddr>,
    /// The last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<IpAddr>,
}

/// Ports, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The first.
    #[serde(default)]
    pub start: u16,
    /// The last.
    #[serde(default)]
    pub end: u16,
}

/// Messages of ICMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmps {
    /// Their type.
    #[serde(default, rename = "type", skip_serializing_if = "is_zero")]
    pub kind: u8,
    /// Their code; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
}

impl From<&EgressRule> for NetOutRule {
    /// Garden's rules allow always; so must this one.
    fn from(rule: &EgressRule) -> Self {
        let (protocol, ports, messages) = match &rule.protocol {
            EgressProtocol::All => (0, &[][..], None),
            EgressProtocol::Tcp(ports) => (1, ports.as_slice(), None),
            EgressProtocol::Udp(ports) => (2, ports.as_slice(), None),
            EgressProtocol::Icmp(messages) => (3, &[][..], *messages),
            EgressProtocol::IcmpV6(messages) => (4, &[][..], *messages),
        };
        let range = |range: &AddressRange| IpRange { start: Some(range.first), end: Some(range.last) };
        Self {
            protocol,
            networks: rule.networks.iter().map(range).collect(),
            ports: ports.iter().map(|range| Ports { start: range.first, end: range.last }).collect(),
            icmps: messages.map(|messages| Icmps { kind: messages.kind, code: messages.code }),
            log: rule.log,
        }
    }
}

impl NetOutRule {
    /// The rule as the model's; the error is what is wrong with it.
    pub fn to_egress(&self) -> Result<EgressRule, String> {
        let ports = self.ports.as_slice();
        let ranges = || ports.iter().map(|range| PortRange { first: range.start, last: range.end }).collect();
        let messages = || self.icmps.map(|icmp| IcmpMessages { kind: icmp.kind, code: icmp.code });
        let protocol = match self.protocol {
            0 => EgressProtocol::All,
            1 => EgressProtocol::Tcp(ranges()),
            2 => EgressProtocol::Udp(ranges()),
            3 => EgressProtocol::Icmp(messages()),
            4 => EgressProtocol::IcmpV6(messages()),
            other => return Err(format!("invalid protocol: {other}")),
        };
        let without_ports = match self.protocol {
            0 => Some("ALL"),
            3 => Some("ICMP"),
            4 => Some("ICMPv6"),
            _ => None,
        };
        if let Some(name) = without_ports.filter(|_| !ports.is_empty()) {
            return Err(format!("Ports cannot be specified for Protocol {name}"));
        }
        let networks = self.networks.iter().filter_map(|range| addresses(range).transpose());
        Ok(EgressRule {
            protocol,
            networks: networks.collect::<Result<_, _>>()?,
            log: self.log,
            ..EgressRule::default()
        })
    }
}

/// `None` for a range without ends, which is everywhere.
fn addresses(range: &IpRange) -> Result<Option<AddressRange>, String> {
    let Some(first) = range.start.or(range.end) else { return Ok(None) };
    let last = range.end.unwrap_or(first);
    // Go writes IPv4 addresses in IPv6's form now and then.
    let (first, last) = (first.to_canonical(), last.to_canonical());
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err(format!("`{first}-{last}` is no range of addresses"));
    }
    Ok(Some(AddressRange { first, last }))
}

/// The rules of a policy that says no more than Garden's rules can, else what it is that they can't say. Only whoever
/// sets the rules can promise the rest. What lines of a log begin with is theirs to choose.
pub fn only_allowed(policy: &EgressPolicy) -> Result<&[EgressRule], &'static str> {
    let EgressPolicy { to_others, to_host, guarded } = policy;
    let silent = |list: &EgressList| {
        EgressList { rules: Vec::new(), log_prefix: String::new(), ..list.clone() } == EgressList::default()
    };
    if to_others.rules.iter().any(|rule| rule.action != EgressAction::Allow) {
        return Err("rules that refuse");
    }
    if !silent(to_others) {
        return Err("what becomes of connections that no rule is about, or how many there may be");
    }
    if !silent(to_host) || !to_host.rules.is_empty() {
        return Err("what reaches the host itself");
    }
    if *guarded {
        return Err("from which addresses a container sends");
    }
    Ok(&to_others.rules)
}

#[cfg(test)]
mod tests {
    use loam_model::ConnectionRate;
    use serde_json::json;

    use super::*;

    fn rule(protocol: EgressProtocol) -> EgressRule {
        EgressRule { protocol, ..EgressRule::default() }
    }

    #[test]
    fn every_form_of_a_rule_is_written_as_garden_has_it() {
        let ports = vec![PortRange { first: 80, last: 90 }];
        let networks = vec![AddressRange {
            first: "10.0.0.1".parse().expect("valid"),
            last: "10.0.0.9".parse().expect("valid"),
        }];
        let rules = [
            rule(EgressProtocol::All),
            EgressRule { networks, log: true, ..rule(EgressProtocol::Tcp(ports)) },
            rule(EgressProtocol::Udp(Vec::new())),
            rule(EgressProtocol::Icmp(Some(IcmpMessages { kind: 0, code: Some(0) }))),
            rule(EgressProtocol::IcmpV6(Some(IcmpMessages { kind: 128, code: None }))),
        ];
        let expected = json!([
            {},
            {"protocol": 1, "networks": [{"start": "10.0.0.1", "end": "10.0.0.9"}],
             "ports": [{"start": 80, "end": 90}], "log": true},
            {"protocol": 2},
            {"protocol": 3, "icmps": {"code": 0}},
            {"protocol": 4, "icmps": {"type": 128}},
        ]);
        let written: Vec<NetOutRule> = rules.iter().map(NetOutRule::from).collect();
        assert_eq!(serde_json::to_value(&written).expect("JSON"), expected);
        let read: Vec<NetOutRule> = serde_json::from_value(expected).expect("its own");
        let back: Result<Vec<EgressRule>, String> = read.iter().map(NetOutRule::to_egress).collect();
        assert_eq!(back.expect("valid"), rules);
    }

    #[test]
    fn what_garden_s_rules_can_t_say_is_named() {
        let plain = EgressPolicy::default;
        let list = EgressList { log_prefix: "handle ".to_owned(), ..EgressList::default() };
        let reject = EgressRule { action: EgressAction::Reject, ..EgressRule::default() };
        let refusing = EgressList { otherwise: EgressAction::Reject, ..EgressList::default() };
        let rate = Some(ConnectionRate { per_second: 1, burst: 1 });
        assert_eq!(only_allowed(&EgressPolicy { to_others: list.clone(), ..plain() }), Ok(&[][..]));
        for (policy, thing) in [
            (
                EgressPolicy { to_others: EgressList { rules: vec![reject], ..list.clone() }, ..plain() },
                "refuse",
            ),
            (EgressPolicy { to_others: refusing.clone(), ..plain() }, "no rule is about"),
            (EgressPolicy { to_others: EgressList { rate, ..list }, ..plain() }, "how many"),
            (EgressPolicy { to_host: refusing, ..plain() }, "the host itself"),
            (EgressPolicy { guarded: true, ..plain() }, "from which addresses"),
        ] {
            assert!(only_allowed(&policy).expect_err(thing).contains(thing));
        }
    }
}
