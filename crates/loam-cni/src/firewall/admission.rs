//! What is let through: addresses, and bridges whose containers others don't reach.

use super::elements;
use super::records::AdmissionRecord;
use super::{ATTEMPTS, Firewall, FirewallError, NetworkRecord, Owner, TABLE};
use crate::nftables::{Batch, Element, NftablesError};

impl Firewall {
    /// Lets an attachment's addresses through, and guards its bridge.
    pub fn admit(&mut self, owner: &Owner<'_>, record: &AdmissionRecord) -> Result<(), FirewallError> {
        self.records.keep(owner, record)?;
        let admitted = self.replace(&elements::admitted(record, &owner.comment())).and_then(|()| {
            let Some(bridge) = &record.bridge else { return Ok(()) };
            let mut wanted = vec![elements::guarded(bridge)];
            if record.within {
                wanted.push(elements::within(bridge));
            } else {
                self.remove_any(&[elements::within(bridge)])?;
            }
            self.change(|batch| elements::add(batch, &wanted, false))
        });
        if admitted.is_err() {
            self.records.forget::<AdmissionRecord>(owner)?;
        }
        admitted
    }

    /// Takes back what was let through for an attachment; success when there is nothing. A guarded bridge stays guarded.
    pub fn dismiss(&mut self, owner: &Owner<'_>) -> Result<(), FirewallError> {
        if let Some(record) = self.records.get::<AdmissionRecord>(owner)? {
            self.remove_own(&elements::admitted(&record, &owner.comment()))?;
        }
        Ok(self.records.forget::<AdmissionRecord>(owner)?)
    }

    /// Whether an attachment's addresses are let through, and its bridge is guarded.
    pub fn is_admitted(
        &mut self,
        owner: &Owner<'_>,
        record: &AdmissionRecord,
    ) -> Result<bool, FirewallError> {
        let mut wanted = elements::admitted(record, &owner.comment());
        if let Some(bridge) = &record.bridge {
            wanted.push(elements::guarded(bridge));
            if record.within {
                wanted.push(elements::within(bridge));
            } else if self.holds(&elements::within(bridge))? {
                return Ok(false);
            }
        }
        for element in &wanted {
            if !self.holds(element)? {
                return Ok(false);
            }
        }
        self.is_whole()
    }

    /// What is let through for an attachment.
    pub fn admission(&self, owner: &Owner<'_>) -> Result<Option<AdmissionRecord>, FirewallError> {
        Ok(self.records.get(owner)?)
    }

    /// The attachments of a network that have something let through: container id and interface.
    pub fn admitted(&self, network: &str) -> Result<Vec<(String, String)>, FirewallError> {
        Ok(self.records.owners::<AdmissionRecord>(network)?)
    }

    /// Whether what a network's containers send is masqueraded.
    pub fn is_masqueraded(&mut self, record: &NetworkRecord) -> Result<bool, FirewallError> {
        for (set, element) in elements::sources(record) {
            if !element.interval_end && !self.holds(&(set, element))? {
                return Ok(false);
            }
        }
        self.is_whole()
    }

    /// The elements of all records, for a table that is made anew.
    pub(super) fn admissions(&self) -> Result<Vec<Vec<(&'static str, Element)>>, FirewallError> {
        let mut parts = Vec::new();
        for (owner, record) in self.records.all::<AdmissionRecord>()? {
            parts.push(elements::admitted(&record, &owner.as_owner().comment()));
            if let Some(bridge) = &record.bridge {
                let mut part = vec![elements::guarded(bridge)];
                part.extend(record.within.then(|| elements::within(bridge)));
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// Whether a set holds an element with this comment.
    fn holds(&mut self, (set, wanted): &(&'static str, Element)) -> Result<bool, FirewallError> {
        let found = self.socket.element(TABLE, set, &wanted.key).map_err(FirewallError::Read)?;
        Ok(found.is_some_and(|found| found.comment == wanted.comment))
    }

    /// Adds elements, and takes their keys from whoever had them before: an address has one owner, the last.
    pub(super) fn replace(&mut self, wanted: &[(&'static str, Element)]) -> Result<(), FirewallError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut old = Vec::new();
        for (set, element) in wanted {
            let found = self.socket.element(TABLE, set, &element.key).map_err(FirewallError::Read)?;
            if found.is_some_and(|found| found.comment != element.comment) {
                old.push((*set, element.clone()));
            }
        }
        self.remove_any(&old)?;
        self.change(|batch| elements::add(batch, wanted, false))
    }

    /// Removes those of the elements that carry their comment.
    pub(super) fn remove_own(&mut self, elements: &[(&'static str, Element)]) -> Result<(), FirewallError> {
        let mut own = Vec::new();
        for element in elements {
            if self.holds(element)? {
                own.push(element.clone());
            }
        }
        self.remove_any(&own)
    }

    /// Removes elements, those that are there.
    fn remove_any(&mut self, elements: &[(&'static str, Element)]) -> Result<(), FirewallError> {
        for (set, element) in elements {
            let mut attempt = 1;
            loop {
                if self.socket.element(TABLE, set, &element.key).map_err(FirewallError::Read)?.is_none() {
                    break;
                }
                let mut batch = Batch::new(TABLE);
                batch.delete_elements(set, &[Element { key: element.key.clone(), ..Element::default() }]);
                match self.socket.commit(&batch) {
                    // Somebody removed it, or flushed the table, between the look and the change.
                    Err(NftablesError::Missing) if attempt < ATTEMPTS => attempt += 1,
                    result => break result.map_err(FirewallError::Change)?,
                }
            }
        }
        Ok(())
    }
}
