//! The expressions that rules are made of.
//!
//! A rule is a small program over registers: load something, compare it or look it up, and give a verdict. Registers
//! are numbered as the kernel does: 1 is the first of 16 bytes, 8 and up are the same bytes in pieces of four.

use crate::netlink::Attributes;

/// Something of a packet or its connection that is loaded into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The family of the packet (`meta nfproto`).
    Family,
    /// The transport protocol (`meta l4proto`).
    TransportProtocol,
    /// The name of the link that it came in by (`iifname`).
    InputLink,
    /// The name of the link that it goes out by (`oifname`).
    OutputLink,
    /// The status bits of its connection (`ct status`).
    ConnectionStatus,
    /// What the packet is to its connection, as a bit (`ct state`).
    ConnectionState,
    /// The kind of its destination address: local, broadcast and so on (`fib daddr type`).
    DestinationKind,
    /// Bytes of the link's header: offset, length.
    Link(u32, u32),
    /// Bytes of the network header: offset, length.
    Network(u32, u32),
    /// Bytes of the transport header: offset, length.
    Transport(u32, u32),
}

/// How a register is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// The same or before, byte by byte.
    AtMost,
    /// The same or after, byte by byte.
    AtLeast,
}

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is dropped.
    Drop,
    /// It passes, as far as this hook's chain is concerned.
    Accept,
    /// It goes on in another chain, and comes back.
    Jump(&'a str),
    /// It goes on in another chain, and what that does not decide is decided as the chain before would have at its end.
    Goto(&'a str),
}

/// How the sender of a packet that may not pass is told (`nft_reject`, for both families).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The connection is reset, of TCP only. Messages of ICMP the kernel sends one a second or so to each address.
    Reset,
    /// Nobody listens there.
    PortUnreachable,
    /// It is not allowed.
    Prohibited,
}

/// A limit on how often a rule goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Packets a second.
    pub per_second: u64,
    /// Packets beyond that at once.
    pub burst: u32,
    /// Whether the rule goes on above the limit, rather than below it.
    pub over: bool,
}

/// One step of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expression<'a> {
    /// Loads a field into a register.
    Load(Field, u32),
    /// Ends the rule unless the register compares so.
    Compare(u32, Comparison, &'a [u8]),
    /// Ends the rule unless the register lies between two values, both included; byte by byte.
    Between(u32, &'a [u8], &'a [u8]),
    /// Ands a register with a mask.
    Mask(u32, &'a [u8]),
    /// Ends the rule unless the set holds the register; `inverted` if it does.
    Member {
        /// The register.
        register: u32,
        /// The set.
        set: &'a str,
        /// Whether membership ends the rule.
        inverted: bool,
    },
    /// Replaces registers by what the map holds for them; ends the rule if it holds nothing.
    Map {
        /// The register with the key.
        register: u32,
        /// The map.
        set: &'a str,
        /// The register that gets the value.
        destination: u32,
    },
    /// Redirects to the address and port in two registers: family, address, port.
    DestinationNat(u32, u32, u32),
    /// Gives the packet the address of the link that it leaves by.
    Masquerade,
    /// Ends with a verdict.
    Verdict(Verdict<'a>),
    /// Ends with the verdict that the map holds for the register; ends the rule if it holds none.
    VerdictMap {
        /// The register with the key.
        register: u32,
        /// The map.
        set: &'a str,
    },
    /// Refuses the packet, and tells the sender.
    Reject(Refusal),
    /// Writes a line to the kernel's log, which begins with this text of at most 127 bytes.
    Log(&'a str),
    /// Ends the rule at a limit for all packets.
    Limit(Limit),
    /// Ends the rule at a limit for each key in the register; a dynamic set keeps the counts.
    Meter {
        /// The register with the key.
        register: u32,
        /// The set.
        set: &'a str,
        /// The limit of each key.
        limit: Limit,
    },
}

impl Expression<'_> {
    /// Writes the expression as an element of a rule's list.
    pub(super) fn write(&self, list: &mut Attributes) {
        list.nested(1, |element| {
            element.text(1, self.name()).nested(2, |data| self.fill(data));
        });
    }

    /// What the kernel calls it.
    fn name(&self) -> &'static str {
        match self {
            Expression::Load(field, _) => field.loader(),
            Expression::Compare(..) => "cmp",
            Expression::Between(..) => "range",
            Expression::Mask(..) => "bitwise",
            Expression::Member { .. } | Expression::Map { .. } | Expression::VerdictMap { .. } => "lookup",
            Expression::DestinationNat(..) => "nat",
            Expression::Masquerade => "masq",
            Expression::Reject(_) => "reject",
            Expression::Log(_) => "log",
            Expression::Limit(_) => "limit",
            Expression::Meter { .. } => "dynset",
            Expression::Verdict(_) => "immediate",
        }
    }

    fn fill(&self, data: &mut Attributes) {
        match *self {
            Expression::Load(field, register) => field.load(register, data),
            Expression::Compare(register, comparison, value) => {
                let operator = match comparison {
                    Comparison::Equal => 0,
                    Comparison::NotEqual => 1,
                    Comparison::AtMost => 3,
                    Comparison::AtLeast => 5,
                };
                data.be32(1, register).be32(2, operator).nested(3, |inner| {
                    inner.bytes(1, value);
                });
            }
            Expression::Between(register, first, last) => {
                // NFT_RANGE_EQ
                data.be32(1, register).be32(2, 0);
                for (kind, value) in [(3, first), (4, last)] {
                    data.nested(kind, |inner| {
                        inner.bytes(1, value);
                    });
                }
            }
            Expression::Mask(register, mask) => {
                let length = u32::try_from(mask.len()).expect("a mask fits a register");
                data.be32(1, register).be32(2, register).be32(3, length);
                data.nested(4, |inner| {
                    inner.bytes(1, mask);
                });
                data.nested(5, |inner| {
                    inner.bytes(1, &vec![0; mask.len()]);
                });
            }
            Expression::Member { register, set, inverted } => {
                data.text(1, set).be32(2, register);
                if inverted {
                    data.be32(5, 1);
                }
            }
            Expression::Map { register, set, destination } => {
                data.text(1, set).be32(2, register).be32(3, destination);
            }
            Expression::DestinationNat(family, address, port) => {
                // NFT_NAT_DNAT, with the flags NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED implied.
                data.be32(1, 1).be32(2, family).be32(3, address).be32(5, port);
            }
            Expression::Masquerade => {}
            Expression::VerdictMap { register, set } => {
                data.text(1, set).be32(2, register).be32(3, 0);
            }
            Expression::Reject(refusal) => {
                // NFT_REJECT_TCP_RST, and NFT_REJECT_ICMPX_UNREACH, which is right for both families.
                match refusal {
                    Refusal::Reset => data.be32(1, 1),
                    Refusal::PortUnreachable => data.be32(1, 2).u8(2, 1),
                    Refusal::Prohibited => data.be32(1, 2).u8(2, 3),
                };
            }
            Expression::Log(prefix) => {
                data.text(2, prefix);
            }
            Expression::Limit(limit) => limit.write(data),
            Expression::Meter { register, set, limit } => {
                // NFT_DYNSET_OP_ADD
                data.text(1, set).be32(3, 0).be32(4, register).nested(7, |inner| {
                    inner.text(1, "limit").nested(2, |inner| limit.write(inner));
                });
            }
            Expression::Verdict(verdict) => {
                data.be32(1, 0).nested(2, |inner| {
                    inner.nested(2, |inner| write_verdict(verdict, inner));
                });
            }
        }
    }
}

impl Limit {
    fn write(&self, data: &mut Attributes) {
        const SECOND: u64 = 1;
        data.bytes(1, &self.per_second.to_be_bytes()).bytes(2, &SECOND.to_be_bytes()).be32(3, self.burst);
        data.be32(4, 0).be32(5, u32::from(self.over));
    }
}

impl Field {
    /// The expression that loads it.
    fn loader(self) -> &'static str {
        match self {
            Field::Family | Field::TransportProtocol | Field::InputLink | Field::OutputLink => "meta",
            Field::ConnectionStatus | Field::ConnectionState => "ct",
            Field::DestinationKind => "fib",
            Field::Link(..) | Field::Network(..) | Field::Transport(..) => "payload",
        }
    }

    fn load(self, register: u32, data: &mut Attributes) {
        const NFT_META_IIFNAME: u32 = 6;
        const NFT_META_OIFNAME: u32 = 7;
        const NFT_META_NFPROTO: u32 = 15;
        const NFT_META_L4PROTO: u32 = 16;
        const NFT_CT_STATE: u32 = 0;
        const NFT_CT_STATUS: u32 = 2;
        const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
        const NFTA_FIB_F_DADDR: u32 = 2;
        data.be32(1, register);
        match self {
            Field::Family => data.be32(2, NFT_META_NFPROTO),
            Field::TransportProtocol => data.be32(2, NFT_META_L4PROTO),
            Field::InputLink => data.be32(2, NFT_META_IIFNAME),
            Field::OutputLink => data.be32(2, NFT_META_OIFNAME),
            Field::ConnectionStatus => data.be32(2, NFT_CT_STATUS),
            Field::ConnectionState => data.be32(2, NFT_CT_STATE),
            Field::DestinationKind => data.be32(2, NFT_FIB_RESULT_ADDRTYPE).be32(3, NFTA_FIB_F_DADDR),
            Field::Link(offset, length) => data.be32(2, 0).be32(3, offset).be32(4, length),
            Field::Network(offset, length) => data.be32(2, 1).be32(3, offset).be32(4, length),
            Field::Transport(offset, length) => data.be32(2, 2).be32(3, offset).be32(4, length),
        };
    }
}

pub(super) fn write_verdict(verdict: Verdict<'_>, into: &mut Attributes) {
    const NF_DROP: u32 = 0;
    const NF_ACCEPT: u32 = 1;
    const NFT_JUMP: i32 = -3;
    const NFT_GOTO: i32 = -4;
    match verdict {
        Verdict::Drop => into.be32(1, NF_DROP),
        Verdict::Accept => into.be32(1, NF_ACCEPT),
        Verdict::Jump(chain) => into.bytes(1, &NFT_JUMP.to_be_bytes()).text(2, chain),
        Verdict::Goto(chain) => into.bytes(1, &NFT_GOTO.to_be_bytes()).text(2, chain),
    };
}
