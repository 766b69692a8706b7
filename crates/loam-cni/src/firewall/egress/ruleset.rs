//! The part of the table that is there for rules on what containers may reach, and never changes.

use super::super::ruleset::{INET4, INET6, Rule, SOURCE4, SOURCE6};
use crate::nftables::{Chain, Comparison, Expression, Field, Hook, SetDefinition, SetKind, Verdict};

pub(super) const TO_OTHERS4: &str = "to-others4";
pub(super) const TO_OTHERS6: &str = "to-others6";
pub(super) const TO_HOST4: &str = "to-host4";
pub(super) const TO_HOST6: &str = "to-host6";
pub(in super::super) const RULED: &str = "ruled";
pub(super) const OWN: &str = "own";
pub(super) const SENDERS4: &str = "senders4";
pub(super) const SENDERS6: &str = "senders6";
const EGRESS: &str = "egress";
const TO_HOST: &str = "to-host";
const SENDERS: &str = "senders";

pub(in super::super) const SETS: [SetDefinition; 8] = [
    SetDefinition { name: TO_OTHERS4, key: &[SetKind::Ipv4], value: &[SetKind::Verdict], interval: false },
    SetDefinition { name: TO_OTHERS6, key: &[SetKind::Ipv6], value: &[SetKind::Verdict], interval: false },
    SetDefinition { name: TO_HOST4, key: &[SetKind::Ipv4], value: &[SetKind::Verdict], interval: false },
    SetDefinition { name: TO_HOST6, key: &[SetKind::Ipv6], value: &[SetKind::Verdict], interval: false },
    SetDefinition { name: RULED, key: &[SetKind::LinkName], value: &[], interval: false },
    SetDefinition { name: OWN, key: &[SetKind::LinkName], value: &[], interval: false },
    SetDefinition { name: SENDERS4, key: &[SetKind::LinkName, SetKind::Ipv4], value: &[], interval: false },
    SetDefinition { name: SENDERS6, key: &[SetKind::LinkName, SetKind::Ipv6], value: &[], interval: false },
];

pub(in super::super) const CHAINS: [Chain; 3] = [
    Chain { name: SENDERS, hook: None },
    Chain { name: EGRESS, hook: Some(("filter", Hook::Forward, 0)) },
    Chain { name: TO_HOST, hook: Some(("filter", Hook::Input, 0)) },
];

/// `ct state established,related`, as bits of the host's byte order.
const KNOWN: [u8; 4] = 6u32.to_ne_bytes();
const NOTHING: [u8; 4] = [0; 4];
const ICMPV6: u8 = 58;
/// Router solicitation and the messages of neighbour discovery up to redirect (RFC 4861, 4.1 to 4.4).
const DISCOVERY: (u8, u8) = (133, 136);

use Comparison::{AtLeast, AtMost, Equal, NotEqual};
use Expression::{Compare, Load, Mask, Member, VerdictMap};

const ACCEPT_KNOWN: &[Expression<'static>] = &[
    Load(Field::ConnectionState, 1),
    Mask(1, &KNOWN),
    Compare(1, NotEqual, &NOTHING),
    Expression::Verdict(Verdict::Accept),
];

const DROP_STRANGERS: &[Expression<'static>] = &[
    Load(Field::InputLink, 1),
    Member { register: 1, set: RULED, inverted: false },
    Expression::Verdict(Verdict::Drop),
];

// iifname @own jump senders
const CHECK_SENDERS: &[Expression<'static>] = &[
    Load(Field::InputLink, 1),
    Member { register: 1, set: OWN, inverted: false },
    Expression::Verdict(Verdict::Jump(SENDERS)),
];

pub(in super::super) const RULES: [Rule; 13] = [
    // iifname . ip saddr != @senders4 drop
    (
        SENDERS,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(Field::InputLink, 1),
            Load(SOURCE4, 2),
            Member { register: 1, set: SENDERS4, inverted: true },
            Expression::Verdict(Verdict::Drop),
        ],
    ),
    // iifname . ip6 saddr != @senders6 drop
    (
        SENDERS,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(Field::InputLink, 1),
            Load(SOURCE6, 2),
            Member { register: 1, set: SENDERS6, inverted: true },
            Expression::Verdict(Verdict::Drop),
        ],
    ),
    (EGRESS, CHECK_SENDERS),
    // ct state established,related accept
    (EGRESS, ACCEPT_KNOWN),
    // ip saddr vmap @to-others4
    (
        EGRESS,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(SOURCE4, 1),
            VerdictMap { register: 1, set: TO_OTHERS4 },
        ],
    ),
    // ip6 saddr vmap @to-others6
    (
        EGRESS,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(SOURCE6, 1),
            VerdictMap { register: 1, set: TO_OTHERS6 },
        ],
    ),
    // iifname @ruled drop
    (EGRESS, DROP_STRANGERS),
    // meta nfproto ipv6 icmpv6 type 133-136 accept: without it no address of the host would be found
    (
        TO_HOST,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(Field::TransportProtocol, 1),
            Compare(1, Equal, &[ICMPV6]),
            Load(Field::Transport(0, 1), 1),
            Compare(1, AtLeast, &[DISCOVERY.0]),
            Compare(1, AtMost, &[DISCOVERY.1]),
            Expression::Verdict(Verdict::Accept),
        ],
    ),
    (TO_HOST, CHECK_SENDERS),
    // ct state established,related accept
    (TO_HOST, ACCEPT_KNOWN),
    // ip saddr vmap @to-host4
    (
        TO_HOST,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(SOURCE4, 1),
            VerdictMap { register: 1, set: TO_HOST4 },
        ],
    ),
    // ip6 saddr vmap @to-host6
    (
        TO_HOST,
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(SOURCE6, 1),
            VerdictMap { register: 1, set: TO_HOST6 },
        ],
    ),
    // iifname @ruled drop
    (TO_HOST, DROP_STRANGERS),
];
