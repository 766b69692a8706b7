//! The table's definition: what never changes.

use super::egress::ruleset as egress;
use crate::nftables::{Batch, Chain, Comparison, Expression, Field, Hook, SetDefinition, SetKind, Verdict};

pub(super) const TABLE: &str = "loam";

pub(super) const SOURCES4: &str = "sources4";
pub(super) const SOURCES6: &str = "sources6";
pub(super) const HAIRPIN4: &str = "hairpin4";
pub(super) const HAIRPIN6: &str = "hairpin6";
pub(super) const BRIDGES: &str = "bridges";
pub(super) const PORTS4: &str = "ports4";
pub(super) const PORTS6: &str = "ports6";
pub(super) const ADDRESSED4: &str = "addressed4";
pub(super) const ADDRESSED6: &str = "addressed6";
pub(super) const EVERYONE4: &str = "everyone4";
pub(super) const EVERYONE6: &str = "everyone6";
pub(super) const ADMITTED4: &str = "admitted4";
pub(super) const ADMITTED6: &str = "admitted6";
pub(super) const GUARDED: &str = "guarded";
pub(super) const WITHIN: &str = "within";

/// The chain whose rules are the administrator's: it is made, but never emptied.
const ADMIN: &str = "admin";

use SetKind::{Ipv4, Ipv6, LinkName, Port, Protocol};

const SETS: [SetDefinition; 15] = [
    SetDefinition { name: SOURCES4, key: &[Ipv4], value: &[], interval: true },
    SetDefinition { name: SOURCES6, key: &[Ipv6], value: &[], interval: true },
    SetDefinition { name: HAIRPIN4, key: &[Ipv4], value: &[], interval: true },
    SetDefinition { name: HAIRPIN6, key: &[Ipv6], value: &[], interval: true },
    SetDefinition { name: BRIDGES, key: &[LinkName], value: &[], interval: false },
    SetDefinition { name: PORTS4, key: &[Protocol, Port], value: &[Ipv4, Port], interval: false },
    SetDefinition { name: PORTS6, key: &[Protocol, Port], value: &[Ipv6, Port], interval: false },
    SetDefinition { name: ADDRESSED4, key: &[Ipv4, Protocol, Port], value: &[Ipv4, Port], interval: false },
    SetDefinition { name: ADDRESSED6, key: &[Ipv6, Protocol, Port], value: &[Ipv6, Port], interval: false },
    SetDefinition { name: EVERYONE4, key: &[Ipv4], value: &[], interval: false },
    SetDefinition { name: EVERYONE6, key: &[Ipv6], value: &[], interval: false },
    SetDefinition { name: ADMITTED4, key: &[Ipv4], value: &[], interval: false },
    SetDefinition { name: ADMITTED6, key: &[Ipv6], value: &[], interval: false },
    SetDefinition { name: GUARDED, key: &[LinkName], value: &[], interval: false },
    SetDefinition { name: WITHIN, key: &[LinkName, LinkName], value: &[], interval: false },
];

const CHAINS: [Chain; 7] = [
    Chain { name: "guard", hook: Some(("filter", Hook::Prerouting, -300)) },
    Chain { name: "published", hook: None },
    Chain { name: "prerouting", hook: Some(("nat", Hook::Prerouting, -100)) },
    Chain { name: "output", hook: Some(("nat", Hook::Output, -100)) },
    Chain { name: ADMIN, hook: None },
    Chain { name: "forward", hook: Some(("filter", Hook::Forward, 0)) },
    Chain { name: "postrouting", hook: Some(("nat", Hook::Postrouting, 100)) },
];

pub(super) const INET4: u8 = 2;
pub(super) const INET6: u8 = 10;
/// `RTN_LOCAL`, in the host's byte order.
const LOCAL: [u8; 4] = 2u32.to_ne_bytes();
/// `IPS_DST_NAT`, in the host's byte order.
const REDIRECTED: [u8; 4] = 0x20u32.to_ne_bytes();
/// Established and related connections (`NF_CT_STATE_BIT`), in the host's byte order.
const ESTABLISHED: [u8; 4] = 6u32.to_ne_bytes();
pub(super) const SOURCE4: Field = Field::Network(12, 4);
pub(super) const DESTINATION4: Field = Field::Network(16, 4);
pub(super) const SOURCE6: Field = Field::Network(8, 16);
pub(super) const DESTINATION6: Field = Field::Network(24, 16);
pub(super) const DESTINATION_PORT: Field = Field::Transport(2, 2);
/// `::1`.
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

use Comparison::{Equal, NotEqual};
use Expression::{Compare, DestinationNat, Load, Map, Mask, Masquerade, Member};

const fn in_set(set: &'static str) -> Expression<'static> {
    Member { register: 1, set, inverted: false }
}

const fn not_in_set(set: &'static str) -> Expression<'static> {
    Member { register: 1, set, inverted: true }
}

pub(super) type Rule = (&'static str, &'static [Expression<'static>]);

/// The rules, chain and expressions. Registers: see [`Expression`].
const RULES: [Rule; 20] = [
    // iifname @bridges ip daddr 127.0.0.0/8 drop
    (
        "guard",
        &[
            Load(Field::InputLink, 1),
            in_set(BRIDGES),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(Field::Network(16, 1), 1),
            Compare(1, Equal, &[127]),
            Expression::Verdict(Verdict::Drop),
        ],
    ),
    // dnat ip to ip daddr . meta l4proto . th dport map @addressed4
    (
        "published",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(DESTINATION4, 1),
            Load(Field::TransportProtocol, 9),
            Load(DESTINATION_PORT, 10),
            Map { register: 1, set: ADDRESSED4, destination: 1 },
            DestinationNat(INET4 as u32, 1, 9),
        ],
    ),
    // meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports4
    (
        "published",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(Field::TransportProtocol, 1),
            Load(DESTINATION_PORT, 9),
            Map { register: 1, set: PORTS4, destination: 1 },
            DestinationNat(INET4 as u32, 1, 9),
        ],
    ),
    // dnat ip6 to ip6 daddr . meta l4proto . th dport map @addressed6
    (
        "published",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(DESTINATION6, 1),
            Load(Field::TransportProtocol, 2),
            Load(DESTINATION_PORT, 13),
            Map { register: 1, set: ADDRESSED6, destination: 1 },
            DestinationNat(INET6 as u32, 1, 2),
        ],
    ),
    // The kernel lets nothing from ::1 out of a link, whatever its route. Left alone, a connection there is refused at
    // once, and who asked for `localhost` goes on to 127.0.0.1; redirected, it would wait.
    // ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @ports6
    (
        "published",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(DESTINATION6, 1),
            Compare(1, NotEqual, &LOOPBACK6),
            Load(Field::TransportProtocol, 1),
            Load(DESTINATION_PORT, 9),
            Map { register: 1, set: PORTS6, destination: 1 },
            DestinationNat(INET6 as u32, 1, 2),
        ],
    ),
    ("prerouting", JUMP_IF_LOCAL),
    ("output", JUMP_IF_LOCAL),
    // iifname @guarded oifname @guarded iifname . oifname != @within drop
    (
        "forward",
        &[
            Load(Field::InputLink, 1),
            in_set(GUARDED),
            Load(Field::OutputLink, 1),
            in_set(GUARDED),
            Load(Field::InputLink, 1),
            Load(Field::OutputLink, 2),
            not_in_set(WITHIN),
            Expression::Verdict(Verdict::Drop),
        ],
    ),
    // jump admin
    ("forward", &[Expression::Verdict(Verdict::Jump(ADMIN))]),
    // ct state established,related ip daddr @admitted4 accept
    (
        "forward",
        &[
            Load(Field::ConnectionState, 1),
            Mask(1, &ESTABLISHED),
            Compare(1, NotEqual, &[0; 4]),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(DESTINATION4, 1),
            in_set(ADMITTED4),
            Expression::Verdict(Verdict::Accept),
        ],
    ),
    // ip saddr @admitted4 accept
    (
        "forward",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(SOURCE4, 1),
            in_set(ADMITTED4),
            Expression::Verdict(Verdict::Accept),
        ],
    ),
    // ct state established,related ip6 daddr @admitted6 accept
    (
        "forward",
        &[
            Load(Field::ConnectionState, 1),
            Mask(1, &ESTABLISHED),
            Compare(1, NotEqual, &[0; 4]),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(DESTINATION6, 1),
            in_set(ADMITTED6),
            Expression::Verdict(Verdict::Accept),
        ],
    ),
    // ip6 saddr @admitted6 accept
    (
        "forward",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(SOURCE6, 1),
            in_set(ADMITTED6),
            Expression::Verdict(Verdict::Accept),
        ],
    ),
    // ct status dnat ip daddr @everyone4 masquerade
    (
        "postrouting",
        &[
            Load(Field::ConnectionStatus, 1),
            Mask(1, &REDIRECTED),
            Compare(1, Equal, &REDIRECTED),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(DESTINATION4, 1),
            in_set(EVERYONE4),
            Masquerade,
        ],
    ),
    // ct status dnat ip6 daddr @everyone6 masquerade
    (
        "postrouting",
        &[
            Load(Field::ConnectionStatus, 1),
            Mask(1, &REDIRECTED),
            Compare(1, Equal, &REDIRECTED),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(DESTINATION6, 1),
            in_set(EVERYONE6),
            Masquerade,
        ],
    ),
    // ct status dnat ip saddr 127.0.0.0/8 oifname @bridges masquerade
    (
        "postrouting",
        &[
            Load(Field::ConnectionStatus, 1),
            Mask(1, &REDIRECTED),
            Compare(1, Equal, &REDIRECTED),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(Field::Network(12, 1), 1),
            Compare(1, Equal, &[127]),
            Load(Field::OutputLink, 1),
            in_set(BRIDGES),
            Masquerade,
        ],
    ),
    // ct status dnat ip saddr @hairpin4 ip daddr @hairpin4 masquerade
    (
        "postrouting",
        &[
            Load(Field::ConnectionStatus, 1),
            Mask(1, &REDIRECTED),
            Compare(1, Equal, &REDIRECTED),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(SOURCE4, 1),
            in_set(HAIRPIN4),
            Load(DESTINATION4, 1),
            in_set(HAIRPIN4),
            Masquerade,
        ],
    ),
    // ct status dnat ip6 saddr @hairpin6 ip6 daddr @hairpin6 masquerade
    (
        "postrouting",
        &[
            Load(Field::ConnectionStatus, 1),
            Mask(1, &REDIRECTED),
            Compare(1, Equal, &REDIRECTED),
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(SOURCE6, 1),
            in_set(HAIRPIN6),
            Load(DESTINATION6, 1),
            in_set(HAIRPIN6),
            Masquerade,
        ],
    ),
    // ip saddr @sources4 ip daddr != @sources4 ip daddr != 224.0.0.0/4 masquerade
    (
        "postrouting",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(SOURCE4, 1),
            in_set(SOURCES4),
            Load(DESTINATION4, 1),
            not_in_set(SOURCES4),
            Load(DESTINATION4, 1),
            Mask(1, &[0xf0, 0, 0, 0]),
            Compare(1, NotEqual, &[0xe0, 0, 0, 0]),
            Masquerade,
        ],
    ),
    // ip6 saddr @sources6 ip6 daddr != @sources6 ip6 daddr != ff00::/8 masquerade
    (
        "postrouting",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(SOURCE6, 1),
            in_set(SOURCES6),
            Load(DESTINATION6, 1),
            not_in_set(SOURCES6),
            Load(Field::Network(24, 1), 1),
            Compare(1, NotEqual, &[0xff]),
            Masquerade,
        ],
    ),
];

// fib daddr type local jump published
const JUMP_IF_LOCAL: &[Expression<'static>] = &[
    Load(Field::DestinationKind, 1),
    Compare(1, Equal, &LOCAL),
    Expression::Verdict(Verdict::Jump("published")),
];

/// Fills a batch with all that makes the table, whatever of it exists already; elements stay.
pub(super) fn define(batch: &mut Batch) {
    batch.add_table();
    for set in SETS.iter().chain(&egress::SETS) {
        batch.add_set(set);
    }
    for chain in CHAINS.iter().chain(&egress::CHAINS) {
        batch.add_chain(chain);
        if chain.name != ADMIN {
            batch.flush_chain(chain.name);
        }
    }
    for (chain, rule) in RULES.iter().chain(&egress::RULES) {
        batch.add_rule(chain, rule);
    }
}

/// How often each chain is used when the table is whole: by its rules, and by those that lead to it. The administrator's
/// own has any number of rules.
pub(super) fn uses() -> impl Iterator<Item = (&'static str, u32)> {
    let rules = || RULES.iter().chain(&egress::RULES);
    let chains = CHAINS.iter().chain(&egress::CHAINS).filter(|chain| chain.name != ADMIN);
    chains.map(move |chain| {
        let leads = |(_, rule): &&Rule| {
            rule.iter().any(|one| matches!(one, Expression::Verdict(Verdict::Jump(to)) if *to == chain.name))
        };
        let own = rules().filter(|(name, _)| *name == chain.name).count();
        (chain.name, u32::try_from(own + rules().filter(leads).count()).unwrap_or(u32::MAX))
    })
}
