//! The firewall: one nftables table, `inet loam`, whose sets and maps hold everything that changes.
//!
//! ```text
//! set sources4, sources6       subnets that are masqueraded on their way out
//! set hairpin4, hairpin6       subnets with published ports: their own traffic to those ports is masqueraded too
//! set bridges                  bridges over which the host's loopback reaches published ports
//! map ports4, ports6           protocol . port            -> address . port
//! map addressed4, addressed6   address . protocol . port  -> address . port
//! chain guard                  drops 127.0.0.0/8 that comes in over those bridges (CVE-2020-8558)
//! chain published              looks the maps up; reached only for addresses of this host (CVE-2025-67499)
//! set everyone4, everyone6     addresses whose published ports' clients are all masqueraded
//! set admitted4, admitted6     addresses that the plugin `firewall` admits: for CHECK and for rules in `admin`, asked by none here
//! set guarded                  bridges whose containers those on other such bridges don't reach
//! set within                   bridge . bridge: of those, bridges whose containers reach each other
//! chain admin                  rules of the administrator's own: made here, never emptied
//! chain prerouting, output, forward, postrouting
//! chain redirected             what of `postrouting` is for redirected connections alone
//! chain egress, to-host, …     what containers may reach, once one has rules; see [`egress`]
//! chain state_HASH             empty: the sets and maps hold what the records of one state directory say, see [`mark`]
//! ```
//!
//! Elements carry their container's id and interface as comment. A key that is taken is refused by the kernel, so that
//! two containers never get the same port. What the sets and maps must hold is also written below
//! [`Host::state_directory`], before it is put into the kernel:
//!
//! ```text
//! networks/NETWORK                       the subnets that are masqueraded
//! ports/CONTAINER:IFNAME                 the published ports
//! admissions/CONTAINER:IFNAME            what is let through, also by iptables or firewalld
//! egress/CONTAINER                       what the container may reach
//! senders/CONTAINER:IFNAME               the hardware address that it sends from; this one is for table `bridge loam`
//! iptables-masquerade/CONTAINER:IFNAME   that it has a chain of iptables for what is masqueraded
//! iptables-ports/CONTAINER:IFNAME        that it has one for its published ports
//! .NAME                                  beside each of them: one that is just written
//! ```
//!
//! From these records DEL knows what to take back, and the table is made anew when somebody has flushed it. They are
//! lost at a restart of the machine, as the table is. Any number of processes may work on table and records at once:
//! each record has one owner, and each change of the table is one atomic batch.
//!
//! [`Host::state_directory`]: crate::Host::state_directory

mod admission;
mod change;
pub mod egress;
mod elements;
mod error;
mod mark;
mod networks;
mod ports;
mod records;
mod restoration;
mod ruleset;
mod senders;
mod watch;

use std::path::PathBuf;

pub use elements::{Mapping, TransportProtocol};
pub use error::FirewallError;
pub(crate) use records::ChainRecord;
pub use records::{AdmissionRecord, Elsewhere, NetworkRecord, PortsRecord};
pub(crate) use senders::SenderRecord;
pub use watch::Watch;

use crate::conntrack::{self, Forget};
use crate::netlink::NetlinkError;
use crate::nftables::{Element, PooledSocket};
use crate::protocol::Host;
pub use crate::protocol::Owner;
pub use crate::records::RecordError;
use crate::records::Records;

/// The table's name.
pub const TABLE: &str = ruleset::TABLE;

/// How often a change is tried again when the table vanishes underneath.
const ATTEMPTS: u32 = 3;

/// The firewall of the network namespace of the calling thread.
#[derive(Debug)]
pub struct Firewall {
    socket: PooledSocket,
    records: Records,
    /// The name of the chain that says that the records are in the table.
    mark: String,
}

impl Firewall {
    /// Opens the firewall.
    pub fn open(host: &Host) -> Result<Self, FirewallError> {
        let socket = host.sockets.take().map_err(FirewallError::Read)?;
        let mark = mark::of(&host.state_directory);
        Ok(Self { socket, records: Records::new(host.state_directory.clone()), mark })
    }

    /// Whether the kernel has what the table needs, as far as can be told without changing anything.
    pub fn probe(&mut self) -> Result<(), FirewallError> {
        self.found_chains().map(drop)
    }

    /// Has the kernel forget flows, whose redirection has changed.
    pub fn forget_flows(&mut self, flows: &[Forget]) -> Result<(), NetlinkError> {
        conntrack::forget(self.socket.bare(), flows)
    }

    /// Where the records are.
    pub fn state_directory(&self) -> &PathBuf {
        self.records.directory()
    }
}

impl Owner<'_> {
    /// The comment of the owner's elements.
    fn comment(&self) -> String {
        let mut comment = format!("{} {}", self.container, self.interface);
        comment.truncate(Element::MAX_COMMENT);
        comment
    }
}
