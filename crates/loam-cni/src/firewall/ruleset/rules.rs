//! The rules of our own table's chains; those on what containers may reach are in [`super::super::egress`].
//!
//! Chains of type `filter` see every packet, those of type `nat` the first one of a connection: in a `filter` chain what tells
//! most packets apart without a set comes first (decision 32).

use super::{
    ADDRESSED4, ADDRESSED6, ADMIN, BRIDGES, EVERYONE4, EVERYONE6, GUARDED, HAIRPIN4, HAIRPIN6, PORTS4,
    PORTS6, SOURCES4, SOURCES6, WITHIN,
};
use crate::nftables::{Comparison, Expression, Field, Verdict};

pub(in super::super) const INET4: u8 = 2;
pub(in super::super) const INET6: u8 = 10;
/// `RTN_LOCAL`, in the host's byte order.
const LOCAL: [u8; 4] = 2u32.to_ne_bytes();
/// `IPS_DST_NAT`, in the host's byte order.
const REDIRECTED: [u8; 4] = 0x20u32.to_ne_bytes();
pub(in super::super) const SOURCE4: Field = Field::Network(12, 4);
pub(in super::super) const DESTINATION4: Field = Field::Network(16, 4);
pub(in super::super) const SOURCE6: Field = Field::Network(8, 16);
pub(in super::super) const DESTINATION6: Field = Field::Network(24, 16);
pub(in super::super) const DESTINATION_PORT: Field = Field::Transport(2, 2);
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

pub(in super::super) type Rule = (&'static str, &'static [Expression<'static>]);

/// The rules, chain and expressions. Registers: see [`Expression`].
pub(super) const RULES: [Rule; 17] = [
    // ip daddr 127.0.0.0/8 iifname @bridges drop
    (
        "guard",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(Field::Network(16, 1), 1),
            Compare(1, Equal, &[127]),
            Load(Field::InputLink, 1),
            in_set(BRIDGES),
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
    // ct status dnat jump redirected
    (
        "postrouting",
        &[
            Load(Field::ConnectionStatus, 1),
            Mask(1, &REDIRECTED),
            Compare(1, Equal, &REDIRECTED),
            Expression::Verdict(Verdict::Jump("redirected")),
        ],
    ),
    // ip daddr @everyone4 masquerade
    (
        "redirected",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(DESTINATION4, 1),
            in_set(EVERYONE4),
            Masquerade,
        ],
    ),
    // ip6 daddr @everyone6 masquerade
    (
        "redirected",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET6]),
            Load(DESTINATION6, 1),
            in_set(EVERYONE6),
            Masquerade,
        ],
    ),
    // ip saddr 127.0.0.0/8 oifname @bridges masquerade
    (
        "redirected",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(Field::Network(12, 1), 1),
            Compare(1, Equal, &[127]),
            Load(Field::OutputLink, 1),
            in_set(BRIDGES),
            Masquerade,
        ],
    ),
    // ip saddr @hairpin4 ip daddr @hairpin4 masquerade
    (
        "redirected",
        &[
            Load(Field::Family, 1),
            Compare(1, Equal, &[INET4]),
            Load(SOURCE4, 1),
            in_set(HAIRPIN4),
            Load(DESTINATION4, 1),
            in_set(HAIRPIN4),
            Masquerade,
        ],
    ),
    // ip6 saddr @hairpin6 ip6 daddr @hairpin6 masquerade
    (
        "redirected",
        &[
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
