//! Published ports: elements of the maps, and what they need beside themselves.

use super::elements::{self, Mapping};
use super::records::PortsRecord;
use super::{ATTEMPTS, Firewall, FirewallError, TABLE};
use crate::nftables::{Batch, Element, NftablesError};
use crate::protocol::{Attachment, Owner};

impl Firewall {
    /// Publishes the ports of an attachment, besides those that it has. A port that somebody else has is an error, and
    /// then everything is as it was.
    pub fn publish(&mut self, owner: &Owner<'_>, record: &PortsRecord) -> Result<(), FirewallError> {
        let before = self.records.get::<PortsRecord>(owner)?;
        let mut all = record.clone();
        all.mappings.extend(before.iter().flat_map(|before| &before.mappings));
        all.mappings.sort_unstable();
        all.mappings.dedup();
        self.records.keep(owner, &all)?;
        let published = self.publish_recorded(owner, record);
        if published.is_err() {
            self.unpublish(owner, record, before)?;
        }
        published
    }

    /// Undoes [`Self::publish_recorded`], which failed; ports that could not be added are not there.
    fn unpublish(
        &mut self,
        owner: &Owner<'_>,
        record: &PortsRecord,
        before: Option<PortsRecord>,
    ) -> Result<(), FirewallError> {
        let comment = owner.comment();
        let had = before.as_ref().map(|before| elements::everyone(before, &comment)).unwrap_or_default();
        let mut new = elements::everyone(record, &comment);
        new.retain(|element| !had.contains(element));
        self.remove_own(&new)?;
        match before {
            Some(before) => Ok(self.records.keep(owner, &before)?),
            None => Ok(self.records.forget::<PortsRecord>(owner)?),
        }
    }

    /// Whether ports were published for an attachment.
    pub fn has_published(&self, owner: &Owner<'_>) -> Result<bool, FirewallError> {
        Ok(self.records.get::<PortsRecord>(owner)?.is_some())
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
        let record = self.records.get::<PortsRecord>(owner)?;
        mappings.extend(record.iter().flat_map(|record| &record.mappings));
        mappings.sort_unstable();
        mappings.dedup();
        self.withdraw_recorded(record.as_ref(), &mappings, &comment)?;
        self.records.forget::<PortsRecord>(owner)?;
        if record.is_some() {
            // Whoever has restored the table between the two has put back what the record said.
            self.withdraw_recorded(record.as_ref(), &mappings, &comment)?;
        }
        Ok(mappings)
    }

    fn withdraw_recorded(
        &mut self,
        record: Option<&PortsRecord>,
        mappings: &[Mapping],
        comment: &str,
    ) -> Result<(), FirewallError> {
        if let Some(record) = record {
            let everyone = elements::everyone(record, comment);
            if !everyone.is_empty() {
                self.remove_own(&everyone)?;
            }
            if let Some(link) = record.bridge.as_deref().filter(|_| record.own_link) {
                self.remove_any(&[elements::bridge(link)])?;
            }
        }
        self.delete_all(mappings, comment)
    }

    /// Withdraws those ports of an attachment that are not among the given ones; gives what was withdrawn. Addresses whose
    /// clients are all masqueraded stay as they are.
    pub fn narrow(&mut self, owner: &Owner<'_>, kept: &[Mapping]) -> Result<Vec<Mapping>, FirewallError> {
        if kept.is_empty() {
            return self.withdraw(owner, &[]);
        }
        let Some(mut record) = self.records.get::<PortsRecord>(owner)? else { return Ok(Vec::new()) };
        let (left, gone): (Vec<_>, Vec<_>) =
            record.mappings.iter().copied().partition(|mapping| kept.contains(mapping));
        if !gone.is_empty() {
            self.delete_all(&gone, &owner.comment())?;
            record.mappings = left;
            self.records.keep(owner, &record)?;
        }
        Ok(gone)
    }

    fn delete_all(&mut self, mappings: &[Mapping], comment: &str) -> Result<(), FirewallError> {
        let mut attempt = 1;
        while let Err(error) = self.delete(mappings, comment)? {
            // Somebody flushed the table between the look and the change.
            if !matches!(error, NftablesError::Missing) || attempt == ATTEMPTS {
                return Err(FirewallError::Change(error));
            }
            attempt += 1;
        }
        Ok(())
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

    /// The attachments of a network that have published ports.
    pub fn published(&self, network: &str) -> Result<Vec<Attachment>, FirewallError> {
        Ok(self.records.owners::<PortsRecord>(network)?)
    }
}
