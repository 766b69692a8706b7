//! A list of rules as a chain of the kernel's.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::super::ruleset::{DESTINATION_PORT, DESTINATION4, DESTINATION6, SOURCE4, SOURCE6};
use super::Family;
use super::list::{Action, ConnectionRate, RuleList};
use super::matches::{Matches, TCP, combinations};
use crate::nftables::{
    Batch, Comparison, Expression, Field, Limit, MeterDefinition, Refusal, SetKind, Verdict,
};

use Comparison::{Equal, NotEqual};
use Expression::{Compare, Load, Mask};

/// `ct state new`, in the host's byte order.
const NEW: [u8; 4] = 8u32.to_ne_bytes();
/// `ct state new,invalid,untracked`, in the host's byte order.
const NOT_KNOWN: [u8; 4] = 73u32.to_ne_bytes();
const NOTHING: [u8; 4] = [0; 4];
/// `meta l4proto tcp ct state new`
const NEW_TCP: [Expression<'static>; 5] = [
    Load(Field::TransportProtocol, 1),
    Compare(1, Equal, &[TCP]),
    Load(Field::ConnectionState, 1),
    Mask(1, &NEW),
    Compare(1, NotEqual, &NOTHING),
];
/// The most connections that are counted at once for one list. While there are more, new ones are refused.
const METER_SIZE: u32 = 1 << 18;
/// The longest text before a line of the log (`NF_LOG_PREFIXLEN`, with its zero).
const LONGEST_PREFIX: usize = 127;

/// A chain, for one family: its name follows from what is in it.
pub(super) struct RuleChain {
    pub(super) name: String,
    family: Family,
    list: Rc<RuleList>,
    refusal: Refusal,
}

/// A list with the digits that the names of its chains have.
pub(super) struct NamedList {
    list: Rc<RuleList>,
    digits: String,
}

impl NamedList {
    pub(super) fn new(list: &RuleList) -> Self {
        let mut list = list.clone();
        if list.logs() {
            let ends = list.log_prefix.char_indices().map(|(at, character)| at + character.len_utf8());
            let length = ends.take_while(|end| *end <= LONGEST_PREFIX).last().unwrap_or(0);
            list.log_prefix.truncate(length);
        } else {
            (list.log_prefix, list.logs_per_second) = (String::new(), None);
        }
        let text = serde_json::to_vec(&list).expect("a list of rules has only text keys");
        let digits = Sha256::digest(text)[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { list: Rc::new(list), digits }
    }
}

/// What the names of chains begin with.
const KINDS: [&str; 4] = ["others4-", "others6-", "host4-", "host6-"];
/// What the name of a chain that a list with a rate goes on in ends with.
const INNER: &str = "-below-rate";

/// Whether a name is that of a chain that maps lead to.
pub(super) fn is_list(name: &str) -> bool {
    KINDS.iter().any(|kind| name.starts_with(kind)) && !name.ends_with(INNER)
}

/// The chain that a list with a rate goes on in.
pub(super) fn inner_chain(name: &str) -> String {
    format!("{name}{INNER}")
}

/// The set that a chain with a rate counts connections in.
pub(super) fn meter(name: &str) -> String {
    format!("rate-{name}")
}

impl RuleChain {
    /// The chain for what is passed on.
    pub(super) fn to_others(list: &NamedList, family: Family) -> Self {
        let kind = match family {
            Family::V4 => KINDS[0],
            Family::V6 => KINDS[1],
        };
        Self::new(kind, list, family, Refusal::PortUnreachable)
    }

    /// The chain for what is for this host.
    pub(super) fn to_host(list: &NamedList, family: Family) -> Self {
        let kind = match family {
            Family::V4 => KINDS[2],
            Family::V6 => KINDS[3],
        };
        Self::new(kind, list, family, Refusal::Prohibited)
    }

    fn new(kind: &str, list: &NamedList, family: Family, refusal: Refusal) -> Self {
        Self { name: format!("{kind}{}", list.digits), family, list: Rc::clone(&list.list), refusal }
    }

    /// The chain that the list itself is in: this one, or with a rate the one that is gone on in below it.
    fn inner(&self) -> String {
        if self.list.rate.is_some() { inner_chain(&self.name) } else { self.name.clone() }
    }

    /// Its chains, from the one that the maps lead to inwards, and how many rules each has.
    pub(super) fn chains(&self) -> Vec<(String, usize)> {
        let (mut list, meter) = (0, meter(&self.name));
        let outer = self.list.rate.map_or(0, |rate| outer_rules(rate, &meter, self.family).len());
        self.each_rule(|_, _| list += 1);
        let inner = (self.inner(), list);
        if outer == 0 { vec![inner] } else { vec![(self.name.clone(), outer), inner] }
    }

    /// Makes the chain, whatever of it exists.
    pub(super) fn define(&self, batch: &mut Batch) {
        let meter = meter(&self.name);
        if let Some(rate) = self.list.rate {
            // As long as a bucket takes to be full again.
            let timeout = u64::from(rate.burst.div_ceil(rate.per_second).max(1)) * 1000;
            let address = match self.family {
                Family::V4 => SetKind::Ipv4,
                Family::V6 => SetKind::Ipv6,
            };
            let key = &[address, address, SetKind::Port];
            batch.add_meter(&MeterDefinition { name: &meter, key, timeout, size: METER_SIZE });
        }
        let inner = self.inner();
        batch.add_inner_chain(&inner).flush_chain(&inner);
        self.each_rule(|rule, comment| {
            batch.add_commented_rule(&inner, rule, comment);
        });
        if let Some(rate) = self.list.rate {
            batch.add_inner_chain(&self.name).flush_chain(&self.name);
            for mut rule in outer_rules(rate, &meter, self.family) {
                // All but the one that refuses go on with the list.
                if !matches!(rule.last(), Some(Expression::Reject(_))) {
                    rule.push(Expression::Verdict(Verdict::Goto(&inner)));
                }
                batch.add_rule(&self.name, &rule);
            }
        }
    }

    fn each_rule(&self, mut each: impl FnMut(&[Expression<'_>], Option<&str>)) {
        for rule in &self.list.rules {
            for matches in combinations(rule, self.family) {
                self.one(&matches, rule.action, rule.log, &mut each);
            }
        }
        let log = self.list.log_refused && self.list.otherwise == Action::Reject;
        self.one(&Matches::default(), self.list.otherwise, log, &mut each);
    }

    /// The rule that decides, before it the one that logs, and for what is refused the one that resets connections.
    fn one(
        &self,
        matches: &Matches,
        action: Action,
        log: bool,
        each: &mut impl FnMut(&[Expression<'_>], Option<&str>),
    ) {
        let mut each = |rule: &[Expression<'_>]| each(rule, matches.comment.as_deref());
        let mut expressions = matches.expressions();
        if log {
            let mut logged = expressions.clone();
            logged.extend([
                Load(Field::ConnectionState, 1),
                Mask(1, &NOT_KNOWN),
                Compare(1, NotEqual, &NOTHING),
            ]);
            logged.extend(self.list.logs_per_second.map(|rate| {
                Expression::Limit(Limit { per_second: rate.max(1).into(), burst: rate.max(5), over: false })
            }));
            logged.push(Expression::Log(&self.list.log_prefix));
            each(&logged);
        }
        if action == Action::Allow {
            expressions.push(Expression::Verdict(Verdict::Accept));
            return each(&expressions);
        }
        let is_tcp = matches.protocol.map(|protocol| protocol == TCP);
        if is_tcp != Some(false) {
            let mut reset = expressions.clone();
            if is_tcp.is_none() {
                reset.extend([Load(Field::TransportProtocol, 1), Compare(1, Equal, &[TCP])]);
            }
            reset.push(Expression::Reject(Refusal::Reset));
            each(&reset);
        }
        if is_tcp != Some(true) {
            expressions.push(Expression::Reject(self.refusal));
            each(&expressions);
        }
    }
}

/// The rules before a list with a rate: new connections below it go on with the list, other new ones are refused, also when
/// there is no room to count them, and all else goes on.
fn outer_rules(rate: ConnectionRate, meter: &str, family: Family) -> Vec<Vec<Expression<'_>>> {
    let mut refused = NEW_TCP.to_vec();
    refused.push(Expression::Reject(Refusal::Reset));
    vec![below_rate(rate, meter, family), refused, Vec::new()]
}

/// What makes a rule one for new connections below a rate, counted for each source, destination and port.
fn below_rate(rate: ConnectionRate, meter: &str, family: Family) -> Vec<Expression<'_>> {
    let limit = Limit { per_second: rate.per_second.into(), burst: rate.burst, over: false };
    let (source, destination, registers) = match family {
        Family::V4 => (SOURCE4, DESTINATION4, [1, 9, 10]),
        Family::V6 => (SOURCE6, DESTINATION6, [1, 2, 3]),
    };
    let mut rule = NEW_TCP.to_vec();
    rule.extend([
        Load(source, registers[0]),
        Load(destination, registers[1]),
        Load(DESTINATION_PORT, registers[2]),
        Expression::Meter { register: 1, set: meter, limit },
    ]);
    rule
}

#[cfg(test)]
mod tests {
    use super::super::list::{AddressRange, PortRange, Protocol, Rule};
    use super::*;

    #[test]
    fn the_name_follows_from_what_decides() {
        let name = |list: &RuleList| RuleChain::to_others(&NamedList::new(list), Family::V4).name;
        let list = RuleList { log_prefix: "one".into(), ..RuleList::reject() };
        let other = RuleList { log_prefix: "two".into(), ..RuleList::reject() };
        assert_eq!(name(&list), name(&other), "nothing is logged");
        let logged = |list: RuleList| RuleList { log_refused: true, ..list };
        assert_ne!(name(&logged(list.clone())), name(&logged(other)));
        assert_ne!(name(&list), name(&RuleList::allow()));
        assert!(RuleChain::to_host(&NamedList::new(&list), Family::V6).name.starts_with("host6-"));
    }

    #[test]
    fn networks_and_ports_are_combined_and_logging_has_rules_of_its_own() {
        let net = |text: &str| AddressRange::from(text.parse::<ipnet::IpNet>().expect("valid"));
        let ports = vec![PortRange { first: 80, last: 80 }, PortRange { first: 8000, last: 8099 }];
        let rule = Rule {
            protocol: Protocol::Tcp(ports),
            networks: vec![net("10.0.0.0/8"), net("fd00::/8"), net("0.0.0.0/0")],
            log: true,
            ..Rule::default()
        };
        let list = RuleList { rules: vec![rule], ..RuleList::reject() };
        let counts = |list: &RuleList, family| -> Vec<usize> {
            RuleChain::to_others(&NamedList::new(list), family)
                .chains()
                .iter()
                .map(|(_, count)| *count)
                .collect()
        };
        assert_eq!(counts(&list, Family::V4), [2 * 2 * 2 + 2]);
        assert_eq!(counts(&list, Family::V6), [2 * 2 + 2]);
        let rate = Some(ConnectionRate { per_second: 5, burst: 9 });
        assert_eq!(counts(&RuleList { rate, ..RuleList::allow() }, Family::V4), [3, 1]);
    }
}
