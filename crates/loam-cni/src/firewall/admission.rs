//! What is let through: addresses, and bridges whose containers others don't reach.

use super::elements;
use super::records::AdmissionRecord;
use super::{Firewall, FirewallError};
use crate::nftables::Element;
use crate::protocol::{Attachment, Owner};

impl Firewall {
    /// Lets an attachment's addresses through, in place of those before, and guards its bridge. When that fails, everything
    /// is as it was.
    pub fn admit(&mut self, owner: &Owner<'_>, record: &AdmissionRecord) -> Result<(), FirewallError> {
        let before = self.records.get::<AdmissionRecord>(owner)?;
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
        // Of the two, the one that is not recorded in the end is not to be found again.
        let (lost, kept) = match &admitted {
            Ok(()) => (before, Some(record.clone())),
            Err(_) => (Some(record.clone()), before),
        };
        if let Some(lost) = lost.filter(|lost| Some(lost) != kept.as_ref()) {
            let elements = |record: &AdmissionRecord| elements::admitted(record, &owner.comment());
            let still = kept.as_ref().map(elements).unwrap_or_default();
            let mut gone = elements(&lost);
            gone.retain(|element| !still.contains(element));
            self.remove_own(&gone)?;
        }
        if admitted.is_err() {
            match kept {
                Some(kept) => self.records.keep(owner, &kept)?,
                None => self.records.forget::<AdmissionRecord>(owner)?,
            }
        }
        admitted
    }

    /// Takes back what was let through for an attachment; success when there is nothing. A guarded bridge stays guarded.
    pub fn dismiss(&mut self, owner: &Owner<'_>) -> Result<(), FirewallError> {
        let Some(record) = self.records.get::<AdmissionRecord>(owner)? else {
            return Ok(self.records.forget::<AdmissionRecord>(owner)?);
        };
        let admitted = elements::admitted(&record, &owner.comment());
        self.remove_own(&admitted)?;
        self.records.forget::<AdmissionRecord>(owner)?;
        // Whoever has restored the table between the two has put back what the record said.
        self.remove_own(&admitted)
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

    /// The attachments of a network that have something let through.
    pub fn admitted(&self, network: &str) -> Result<Vec<Attachment>, FirewallError> {
        Ok(self.records.owners::<AdmissionRecord>(network)?)
    }

    /// The elements of all records, for a table that is made anew.
    pub(super) fn admissions(&self) -> Result<Vec<Vec<(&'static str, Element)>>, FirewallError> {
        let mut parts = Vec::new();
        for (owner, record) in self.records.all::<AdmissionRecord>()? {
            parts.push(elements::admitted(&record, &owner.owner().comment()));
            if let Some(bridge) = &record.bridge {
                let mut part = vec![elements::guarded(bridge)];
                part.extend(record.within.then(|| elements::within(bridge)));
                parts.push(part);
            }
        }
        Ok(parts)
    }
}
