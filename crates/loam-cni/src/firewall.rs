//! The firewall: one static nftables table, `inet loam`, whose sets and maps hold everything that changes.
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
//! set admitted4, admitted6     addresses that are let through
//! set guarded                  bridges whose containers those on other such bridges don't reach
//! set within                   bridge . bridge: of those, bridges whose containers reach each other
//! chain admin                  rules of the administrator's own: made here, never emptied
//! chain prerouting, output, forward, postrouting
//! chain egress, to-host, …     what containers may reach, see [`egress`]
//! ```
//!
//! Elements carry their container's id and interface as comment. A key that is taken is refused by the kernel, so that
//! two containers never get the same port. What the sets and maps must hold is also written below
//! [`Host::state_directory`], before it is put into the kernel:
//!
//! ```text
//! networks/NETWORK         the subnets that are masqueraded
//! ports/CONTAINER:IFNAME   the published ports
//! egress/CONTAINER         what the container may reach
//! admissions/CONTAINER:IFNAME   what is let through
//! ```
//!
//! From these records DEL knows what to take back, and the table is made anew when somebody has flushed it. They are
//! lost at a restart of the machine, as the table is. Any number of processes may work on table and records at once:
//! each record has one owner, and each change of the table is one atomic batch.
//!
//! [`Host::state_directory`]: crate::Host::state_directory

mod admission;
pub mod egress;
mod elements;
mod records;
mod ruleset;
mod watch;

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

pub use elements::{Mapping, TransportProtocol};
pub use records::{AdmissionRecord, Elsewhere, NetworkRecord, PortsRecord, RecordError};
pub(crate) use records::{ChainRecord, Records};
pub use watch::Watch;

use crate::conntrack::{self, Forget};
use crate::netlink::NetlinkError;
use crate::nftables::{Batch, Element, NftablesError, NftablesSocket, SocketPool};
use crate::protocol::Host;

/// The table's name.
pub const TABLE: &str = ruleset::TABLE;

/// How often a change is tried again when the table vanishes underneath.
const ATTEMPTS: u32 = 3;

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
    /// A change was refused.
    #[error("changing table `inet {TABLE}` failed")]
    Change(#[source] NftablesError),
    /// The table can't be read.
    #[error("reading table `inet {TABLE}` failed")]
    Read(#[source] NftablesError),
    /// A record can't be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The firewall of the network namespace of the calling thread.
#[derive(Debug)]
pub struct Firewall {
    socket: PooledSocket,
    records: Records,
}

/// A socket that goes back into its pool.
#[derive(Debug)]
struct PooledSocket {
    socket: Option<NftablesSocket>,
    pool: SocketPool,
}

impl Deref for PooledSocket {
    type Target = NftablesSocket;
    fn deref(&self) -> &NftablesSocket {
        self.socket.as_ref().expect("the socket is there until the drop")
    }
}

impl DerefMut for PooledSocket {
    fn deref_mut(&mut self) -> &mut NftablesSocket {
        self.socket.as_mut().expect("the socket is there until the drop")
    }
}

impl Drop for PooledSocket {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.pool.put(socket);
        }
    }
}

impl Firewall {
    /// Opens the firewall.
    pub fn open(host: &Host) -> Result<Self, FirewallError> {
        let pool = host.sockets.clone();
        let socket = Some(pool.take().map_err(FirewallError::Read)?);
        Ok(Self {
            socket: PooledSocket { socket, pool },
            records: Records::new(host.state_directory.clone()),
        })
    }

    /// Masquerades what a network's containers send to the outside.
    pub fn masquerade(&mut self, network: &str, record: &NetworkRecord) -> Result<(), FirewallError> {
        self.records.keep_network(network, record)?;
        let elements = elements::sources(record);
        self.change(|batch| elements::add(batch, &elements, false)).map_err(|error| match error {
            FirewallError::Change(NftablesError::Refused(_) | NftablesError::Taken) => {
                FirewallError::Overlap(network.to_owned())
            }
            other => other,
        })
    }

    /// Forgets a network that nothing is attached to any more, with the bridge that led to it: what was masqueraded for
    /// it, and what its published ports needed. Success when there is nothing.
    pub fn forget_network(&mut self, network: &str, bridge: Option<&str>) -> Result<(), FirewallError> {
        let sources = self.records.network(network)?.unwrap_or_default().sources;
        for part in elements::of_network(&sources, bridge) {
            let mut batch = Batch::new(TABLE);
            elements::delete(&mut batch, &part);
            match self.socket.commit(&batch) {
                Ok(()) | Err(NftablesError::Missing) => {}
                Err(error) => return Err(FirewallError::Change(error)),
            }
        }
        Ok(self.records.forget_network(network)?)
    }

    /// Publishes the ports of an attachment, besides those that it has. A port that somebody else has is an error, and
    /// then none is added.
    pub fn publish(&mut self, owner: &Owner<'_>, record: &PortsRecord) -> Result<(), FirewallError> {
        let before = self.records.get::<PortsRecord>(owner)?;
        self.records.keep(owner, record)?;
        let published = self.publish_recorded(owner, record);
        if published.is_err() {
            match before {
                Some(before) => self.records.keep(owner, &before)?,
                None => self.records.forget::<PortsRecord>(owner)?,
            }
        }
        published
    }

    fn publish_recorded(&mut self, owner: &Owner<'_>, record: &PortsRecord) -> Result<(), FirewallError> {
        let comment = owner.comment();
        let surroundings = elements::surroundings(record);
        self.replace(&elements::everyone(record, &comment))?;
        let mut mappings = record.mappings.clone();
        for _ in 0..ATTEMPTS {
            let ports = elements::ports(&mappings, &comment);
            let result = self.change(|batch| {
                elements::add(batch, &surroundings, false);
                elements::add(batch, &ports, true);
            });
            match result {
                Err(FirewallError::Change(NftablesError::Taken)) => {
                    self.find_taken(&mut mappings, &comment)?;
                }
                other => return other,
            }
        }
        Err(FirewallError::Change(NftablesError::Taken))
    }

    /// Drops from `mappings` what is published for this owner already; what somebody else has is an error.
    fn find_taken(&mut self, mappings: &mut Vec<Mapping>, comment: &str) -> Result<(), FirewallError> {
        let mut missing = Vec::new();
        for mapping in mappings.drain(..) {
            let (set, wanted) = elements::port(&mapping, comment);
            match self.socket.element(TABLE, set, &wanted.key).map_err(FirewallError::Read)? {
                None => missing.push(mapping),
                Some(found) if found.comment == wanted.comment && found.value == wanted.value => {}
                Some(found) => {
                    let owner = found.comment.unwrap_or_else(|| "an unknown owner".into());
                    return Err(FirewallError::PortTaken { mapping, owner });
                }
            }
        }
        *mappings = missing;
        Ok(())
    }

    /// Withdraws the ports of an attachment: those of its record and those given. Gives what was withdrawn; it is
    /// success when there is nothing.
    pub fn withdraw(&mut self, owner: &Owner<'_>, given: &[Mapping]) -> Result<Vec<Mapping>, FirewallError> {
        let comment = owner.comment();
        let mut mappings = given.to_vec();
        if let Some(record) = self.records.get::<PortsRecord>(owner)? {
            self.remove_own(&elements::everyone(&record, &comment))?;
            mappings.extend(record.mappings);
        }
        mappings.sort_unstable();
        mappings.dedup();
        let mut attempt = 1;
        while let Err(error) = self.delete(&mappings, &comment)? {
            // Somebody flushed the table between the look and the change.
            if !matches!(error, NftablesError::Missing) || attempt == ATTEMPTS {
                return Err(FirewallError::Change(error));
            }
            attempt += 1;
        }
        self.records.forget::<PortsRecord>(owner)?;
        Ok(mappings)
    }

    /// Removes those of the mappings that carry the comment.
    fn delete(
        &mut self,
        mappings: &[Mapping],
        comment: &str,
    ) -> Result<Result<(), NftablesError>, FirewallError> {
        let mut batch = Batch::new(TABLE);
        for mapping in mappings {
            let (set, wanted) = elements::port(mapping, comment);
            let found = self.socket.element(TABLE, set, &wanted.key).map_err(FirewallError::Read)?;
            if found.is_some_and(|found| found.comment == wanted.comment) {
                batch.delete_elements(set, &[Element { key: wanted.key, ..Element::default() }]);
            }
        }
        Ok(self.socket.commit(&batch))
    }

    /// Who has a host port; `None` when no container has.
    pub fn owner_of(&mut self, mapping: &Mapping) -> Result<Option<String>, FirewallError> {
        let (set, wanted) = elements::port(mapping, "");
        let found = self.socket.element(TABLE, set, &wanted.key).map_err(FirewallError::Read)?;
        Ok(found.and_then(|element| element.comment))
    }

    /// Whether all ports of an attachment are published.
    pub fn is_published(&mut self, owner: &Owner<'_>, mappings: &[Mapping]) -> Result<bool, FirewallError> {
        let comment = owner.comment();
        for mapping in mappings {
            let (set, wanted) = elements::port(mapping, &comment);
            let found = self.socket.element(TABLE, set, &wanted.key).map_err(FirewallError::Read)?;
            if found.is_none_or(|found| found.comment != wanted.comment || found.value != wanted.value) {
                return Ok(false);
            }
        }
        self.is_whole()
    }

    /// The attachments of a network that have published ports: container id and interface.
    pub fn published(&self, network: &str) -> Result<Vec<(String, String)>, FirewallError> {
        Ok(self.records.owners::<PortsRecord>(network)?)
    }

    /// Whether every rule of the table is there.
    fn is_whole(&mut self) -> Result<bool, FirewallError> {
        let found = match self.socket.chains(TABLE) {
            Err(NftablesError::Missing) => return Ok(false),
            found => found.map_err(FirewallError::Read)?,
        };
        Ok(ruleset::uses().all(|wanted| found.iter().any(|(name, uses)| (name.as_str(), *uses) == wanted)))
    }

    /// Makes a change to sets and maps, and before it, or when it fails for lack of them, the table itself.
    fn change(&mut self, fill: impl Fn(&mut Batch)) -> Result<(), FirewallError> {
        if !self.is_whole()? {
            self.restore()?;
        }
        for attempt in 1.. {
            let mut batch = Batch::new(TABLE);
            fill(&mut batch);
            match self.socket.commit(&batch) {
                Err(NftablesError::Missing) if attempt < ATTEMPTS => self.restore()?,
                result => return result.map_err(FirewallError::Change),
            }
        }
        Ok(())
    }

    /// Whether the table must be there, because something was set, and is not whole.
    pub fn is_broken(&mut self) -> Result<bool, FirewallError> {
        Ok(!self.records.is_empty()? && !self.is_whole()?)
    }

    /// Makes the table as it must be, and fills it from the records.
    pub fn restore(&mut self) -> Result<(), FirewallError> {
        let mut batch = Batch::new(TABLE);
        ruleset::define(&mut batch);
        match self.socket.commit(&batch) {
            // Made by a version that defined it otherwise, or by somebody else under this name.
            Err(NftablesError::Taken | NftablesError::Refused(_)) => {
                let mut anew = Batch::new(TABLE);
                anew.add_table().delete_table();
                ruleset::define(&mut anew);
                self.socket.commit(&anew).map_err(FirewallError::Change)?;
            }
            result => result.map_err(FirewallError::Change)?,
        }
        let mut parts: Vec<Vec<(&str, Element)>> = Vec::new();
        parts.extend(self.records.networks()?.iter().map(elements::sources));
        for (owner, record) in self.records.all::<PortsRecord>()? {
            let comment = owner.as_owner().comment();
            parts.push(elements::surroundings(&record));
            parts.push(elements::everyone(&record, &comment));
            parts.push(elements::ports(&record.mappings, &comment));
        }
        parts.extend(self.admissions()?);
        for part in parts {
            let mut batch = Batch::new(TABLE);
            elements::add(&mut batch, &part, false);
            match self.socket.commit(&batch) {
                // Records of the dead may contradict each other; their next DEL removes them.
                Ok(()) | Err(NftablesError::Taken | NftablesError::Refused(_)) => {}
                Err(error) => return Err(FirewallError::Change(error)),
            }
        }
        self.restore_egress()
    }

    /// Whether the kernel has what the table needs, as far as can be told without changing anything.
    pub fn probe(&mut self) -> Result<(), FirewallError> {
        self.is_whole().map(drop)
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

/// Whose ports: an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The container's id.
    pub container: &'a str,
    /// The interface's name in the container.
    pub interface: &'a str,
}

impl Owner<'_> {
    /// The comment of the owner's elements.
    fn comment(&self) -> String {
        let mut comment = format!("{} {}", self.container, self.interface);
        comment.truncate(Element::MAX_COMMENT);
        comment
    }
}
