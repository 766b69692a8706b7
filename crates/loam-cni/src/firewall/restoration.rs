//! Whether the tables are there and whole, and making them anew from the records.

use std::collections::BTreeSet;

use super::elements;
use super::records::PortsRecord;
use super::ruleset;
use super::{Firewall, FirewallError, TABLE};
use crate::nftables::{Batch, Element, NftablesError};

impl Firewall {
    /// Whether every rule of the table is there that our records need, and our records are in it.
    pub(super) fn is_whole(&mut self) -> Result<bool, FirewallError> {
        let found = self.found_chains()?;
        let is_marked = found.iter().any(|(name, _)| *name == self.mark);
        Ok(is_marked && ruleset::is_whole(&found, self.records.has_egress_records()?))
    }

    /// The table's chains, each with how often it is used; none without a table.
    pub(super) fn found_chains(&mut self) -> Result<Vec<(String, u32)>, FirewallError> {
        match self.socket.chains(TABLE) {
            Err(NftablesError::Missing) => Ok(Vec::new()),
            found => found.map_err(FirewallError::Read),
        }
    }

    /// Whether a table must be there, because something was set, and is not whole.
    pub fn is_broken(&mut self) -> Result<bool, FirewallError> {
        Ok((!self.records.is_empty()? && !self.is_whole()?) || self.senders_are_broken()?)
    }

    /// Makes the tables as they must be, and fills them from the records: ours, and that of bridges if it is needed. What
    /// other state directories have in them stays; what they had in a table that was flushed they put back themselves.
    pub fn restore(&mut self) -> Result<(), FirewallError> {
        let restored = self.restore_table();
        self.restore_senders()?;
        restored
    }

    /// Makes our table as it must be, and fills it from the records.
    pub(super) fn restore_table(&mut self) -> Result<(), FirewallError> {
        // What another state directory needs stays.
        let with_egress =
            self.records.has_egress_records()? || ruleset::defines_egress(&self.found_chains()?);
        self.define(|| Batch::new(TABLE), |batch| ruleset::define(batch, with_egress))
            .map_err(FirewallError::Change)?;
        let parts = self.recorded()?;
        for part in &parts {
            let mut batch = Batch::new(TABLE);
            elements::add(&mut batch, part, false);
            match self.socket.commit(&batch) {
                Ok(()) => {}
                // Records of the dead may contradict each other; their next DEL removes them.
                Err(error) if error.is_contradiction() => {}
                Err(error) => return Err(FirewallError::Change(error)),
            }
        }
        let egress = self.restore_egress()?;
        // Whoever has gone meanwhile did not find its own in the table, and will not look for it again.
        self.take_back(&parts)?;
        self.take_back_egress(&egress)?;
        let mut marked = Batch::new(TABLE);
        marked.add_inner_chain(&self.mark);
        self.socket.commit(&marked).map_err(FirewallError::Change)?;
        egress.failure.map_or(Ok(()), Err)
    }

    /// What the records say that the table must hold, but for what containers may reach: in parts that are there whole or not at all.
    fn recorded(&self) -> Result<Vec<Vec<(&'static str, Element)>>, FirewallError> {
        let mut parts = Vec::new();
        parts.extend(self.records.networks()?.iter().map(elements::sources));
        for (owner, record) in self.records.all::<PortsRecord>()? {
            let comment = owner.owner().comment();
            parts.push(elements::surroundings(&record));
            parts.push(elements::everyone(&record, &comment));
            parts.push(elements::ports(&record.mappings, &comment));
        }
        parts.extend(self.admissions()?);
        Ok(parts)
    }

    /// Removes those elements that no record names any more. What is not of one container may be another state directory's, too.
    fn take_back(&mut self, parts: &[Vec<(&'static str, Element)>]) -> Result<(), FirewallError> {
        let now = self.recorded()?;
        if now == parts {
            return Ok(());
        }
        let named: BTreeSet<_> = now.iter().flatten().map(name_of).collect();
        let are_shared_ours = !self.has_other_marks()?;
        let mut own = Vec::new();
        for part in parts {
            let gone = part.iter().filter(|element| !named.contains(&name_of(element))).cloned();
            let (of_one, shared): (Vec<_>, Vec<_>) = gone.partition(|(_, element)| element.comment.is_some());
            own.extend(of_one);
            // The two ends of a range go together.
            let shared = shared.chunk_by(|(one, _), (other, _)| one == other);
            for some in shared.filter(|_| are_shared_ours) {
                let mut batch = Batch::new(TABLE);
                elements::delete(&mut batch, some);
                match self.socket.commit(&batch) {
                    Ok(()) | Err(NftablesError::Missing) => {}
                    Err(error) => return Err(FirewallError::Change(error)),
                }
            }
        }
        if own.is_empty() { Ok(()) } else { self.remove_own(&own) }
    }

    /// Defines a table, whatever of it exists.
    pub(super) fn define(
        &mut self,
        begin: impl Fn() -> Batch,
        define: impl Fn(&mut Batch),
    ) -> Result<(), NftablesError> {
        let mut batch = begin();
        define(&mut batch);
        match self.socket.commit(&batch) {
            // Made by a version that defined it otherwise, or by somebody else under this name.
            Err(error) if error.is_other_definition() => {
                let mut anew = begin();
                anew.add_table().delete_table();
                define(&mut anew);
                self.socket.commit(&anew)
            }
            result => result,
        }
    }
}

/// What tells an element from all others.
fn name_of((set, element): &(&'static str, Element)) -> (&'static str, Vec<u8>, bool, Option<String>) {
    (set, element.key.clone(), element.interval_end, element.comment.clone())
}
