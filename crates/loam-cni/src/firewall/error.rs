//! Why the firewall can't be set.

use std::net::IpAddr;

use super::TABLE;
use super::elements::Mapping;
use crate::nftables::NftablesError;
use crate::records::RecordError;

/// Why the firewall can't be set.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// A host port belongs to somebody else.
    #[error("host port {mapping} is taken by `{owner}`")]
    PortTaken {
        /// The port.
        mapping: Mapping,
        /// The container and interface that have it.
        owner: String,
    },
    /// A subnet overlaps with one that is masqueraded already.
    #[error("a subnet of network `{0}` overlaps with that of another network")]
    Overlap(String),
    /// An address is that of a container with rules, which is not just leaving.
    #[error("address `{address}` is that of container `{owner}`, which has rules")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The container.
        owner: String,
    },
    /// A change was refused.
    #[error("changing table `inet {TABLE}` failed")]
    Change(#[source] NftablesError),
    /// The table can't be read.
    #[error("reading table `inet {TABLE}` failed")]
    Read(#[source] NftablesError),
    /// The table of bridges, which says what hardware addresses containers send from, can't be changed.
    #[error("changing table `bridge {TABLE}` failed")]
    Senders(#[source] NftablesError),
    /// A record can't be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
}
