//! Hardware addresses that containers may send from: one static table of the bridge family, `bridge loam`.
//!
//! ```text
//! set guarded   links, the hosts' ends of containers
//! set senders   link . hardware address
//! chain prerouting   iifname @guarded iifname . ether saddr != @senders drop
//! chain state_HASH   the mark of a state directory whose records are in
//! ```
//!
//! It is made when the first container needs it: not every kernel has nf_tables for bridges.

use serde::{Deserialize, Serialize};

use super::elements::link_bytes;
use super::{ATTEMPTS, Firewall, FirewallError, TABLE};
use crate::nftables::{
    Batch, Chain, Element, Expression, FAMILY_BRIDGE, Field, Hook, NftablesError, SetDefinition, SetKind,
    Verdict,
};
use crate::protocol::{Attachment, Owner};

const GUARDED: SetDefinition =
    SetDefinition { name: "guarded", key: &[SetKind::LinkName], value: &[], interval: false };
const SENDERS: SetDefinition = SetDefinition {
    name: "senders",
    key: &[SetKind::LinkName, SetKind::HardwareAddress],
    value: &[],
    interval: false,
};
const CHAIN: Chain = Chain { name: "prerouting", hook: Some(("filter", Hook::Prerouting, -300)) };
const RULE: [Expression<'static>; 6] = [
    Expression::Load(Field::InputLink, 1),
    Expression::Member { register: 1, set: GUARDED.name, inverted: false },
    Expression::Load(Field::InputLink, 1),
    Expression::Load(Field::Link(6, 6), 2),
    Expression::Member { register: 1, set: SENDERS.name, inverted: true },
    Expression::Verdict(Verdict::Drop),
];

/// A link of a container, and the address that it may send from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SenderRecord {
    /// The network.
    pub(crate) network: String,
    /// The link's name.
    pub(crate) link: String,
    /// The hardware address.
    pub(crate) mac: [u8; 6],
}

impl SenderRecord {
    fn elements(&self, owner: &Owner<'_>) -> [(&'static str, Element); 2] {
        let element = |key| Element { key, comment: Some(owner.comment()), ..Element::default() };
        let link = link_bytes(&self.link);
        // As part of a concatenation: filled up to a multiple of four.
        let sender = [&link[..], &self.mac, &[0; 2]].concat();
        [(GUARDED.name, element(link)), (SENDERS.name, element(sender))]
    }
}

fn begin() -> Batch {
    Batch::of_family(FAMILY_BRIDGE, TABLE)
}

fn fill<'a>(senders: impl IntoIterator<Item = (Owner<'a>, &'a SenderRecord)>) -> Batch {
    let mut batch = begin();
    for (owner, sender) in senders {
        for (set, element) in sender.elements(&owner) {
            batch.add_elements(set, &[element], false);
        }
    }
    batch
}

impl Firewall {
    /// Lets a link send from one hardware address only.
    pub(crate) fn guard_sender(
        &mut self,
        owner: &Owner<'_>,
        sender: &SenderRecord,
    ) -> Result<(), FirewallError> {
        let before = self.records.get::<SenderRecord>(owner)?;
        self.records.keep(owner, sender)?;
        let guarded = self.set_sender(owner, sender);
        if guarded.is_err() {
            match before {
                Some(before) => self.records.keep(owner, &before)?,
                None => self.records.forget::<SenderRecord>(owner)?,
            }
        }
        guarded
    }

    fn set_sender(&mut self, owner: &Owner<'_>, sender: &SenderRecord) -> Result<(), FirewallError> {
        if !self.has_senders_table()? {
            self.restore_senders()?;
        }
        let batch = fill([(*owner, sender)]);
        for attempt in 1.. {
            match self.socket.commit(&batch) {
                // Somebody flushed it this moment.
                Err(NftablesError::Missing) if attempt < ATTEMPTS => self.restore_senders()?,
                result => return result.map_err(FirewallError::Senders),
            }
        }
        Ok(())
    }

    /// Undoes [`Self::guard_sender`]; success when there is nothing.
    pub(crate) fn release_sender(&mut self, owner: &Owner<'_>) -> Result<(), FirewallError> {
        if let Some(sender) = self.records.get::<SenderRecord>(owner)? {
            for (set, element) in sender.elements(owner) {
                let mut batch = begin();
                batch.delete_elements(set, &[Element { key: element.key, ..Element::default() }]);
                match self.socket.commit(&batch) {
                    Ok(()) | Err(NftablesError::Missing) => {}
                    Err(cause) => return Err(FirewallError::Senders(cause)),
                }
            }
        }
        Ok(self.records.forget::<SenderRecord>(owner)?)
    }

    /// The attachments of a network that may send from one hardware address only.
    pub(crate) fn guarded_senders(&self, network: &str) -> Result<Vec<Attachment>, FirewallError> {
        Ok(self.records.owners::<SenderRecord>(network)?)
    }

    /// Whether the table must be there and is not whole.
    pub(super) fn senders_are_broken(&mut self) -> Result<bool, FirewallError> {
        Ok(!self.records.all::<SenderRecord>()?.is_empty() && !self.has_senders_table()?)
    }

    fn has_senders_table(&mut self) -> Result<bool, FirewallError> {
        match self.socket.count_rules_of(FAMILY_BRIDGE, TABLE, CHAIN.name) {
            Ok(1) => {
                self.socket.has_chain_of(FAMILY_BRIDGE, TABLE, &self.mark).map_err(FirewallError::Senders)
            }
            Ok(_) => Ok(false),
            Err(NftablesError::Missing) => Ok(false),
            Err(cause) => Err(FirewallError::Senders(cause)),
        }
    }

    /// Makes the table as it must be, with all that is recorded; makes none when nothing is.
    pub(super) fn restore_senders(&mut self) -> Result<(), FirewallError> {
        let all = self.records.all::<SenderRecord>()?;
        if all.is_empty() {
            return Ok(());
        }
        let defined = self.define(begin, |batch| {
            batch.add_table().add_set(&GUARDED).add_set(&SENDERS).add_chain(&CHAIN);
            batch.flush_chain(CHAIN.name).add_rule(CHAIN.name, &RULE);
        });
        let mut batch = fill(all.iter().map(|(owner, sender)| (owner.owner(), sender)));
        batch.add_inner_chain(&self.mark);
        defined.and_then(|()| self.socket.commit(&batch)).map_err(FirewallError::Senders)
    }
}
