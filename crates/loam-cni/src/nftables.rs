//! nf_tables over netlink: batches that the kernel takes whole or not at all (nf_tables.h, nfnetlink.h).
//!
//! Only what one static table needs is here: chains, sets and maps with elements, rules of a few expressions. A change
//! is one [`Batch`], one system call and one answer; there is no `nft` process and no text that names from outside
//! could break out of.

mod batch;
mod expression;
mod pool;
mod set;
mod socket;

pub(crate) use batch::message;
pub use batch::{Batch, Chain, Hook};
pub use expression::{Comparison, Expression, Field, Limit, Refusal, Verdict};
pub(crate) use pool::PooledSocket;
pub use pool::SocketPool;
pub use set::{Element, MeterDefinition, SetDefinition, SetKind};
pub use socket::{NftablesError, NftablesSocket};

/// The family of the tables here: IPv4 and IPv6 together (`NFPROTO_INET`).
pub const FAMILY_INET: u8 = 1;

/// The family of tables that see the frames between a bridge's ports (`NFPROTO_BRIDGE`).
pub const FAMILY_BRIDGE: u8 = 7;

/// The subsystem number in the message types (`NFNL_SUBSYS_NFTABLES`).
const SUBSYSTEM: u16 = 10;

/// Whether a notification tells that a table, a chain, a rule or a set was removed.
pub(crate) fn is_removal(kind: u16) -> bool {
    /// `NFT_MSG_DELTABLE`, `NFT_MSG_DELCHAIN`, `NFT_MSG_DELRULE`, `NFT_MSG_DELSET`.
    const REMOVALS: [u16; 4] = [2, 5, 8, 11];
    REMOVALS.iter().any(|message| kind == (SUBSYSTEM << 8) | message)
}

/// The fixed header of the netfilter subsystems (`struct nfgenmsg`): family, version, resource.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}
