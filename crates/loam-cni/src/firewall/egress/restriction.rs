//! Setting what containers may reach.

use super::super::elements;
use super::super::{ATTEMPTS, Firewall, FirewallError, TABLE};
use super::EgressRecord;
use super::chain::RuleChain;
use super::leaving::{is_leaving, leaving};
use super::ruleset::CHAINS;
use crate::nftables::{Batch, Element, NftablesError};
use crate::protocol::Host;
use crate::records::{self, RecordError, Records};

impl Firewall {
    /// Sets what a container may reach, in place of what was set before. Lists must be valid ([`RuleList::validate`]).
    pub fn restrict(&mut self, container: &str, record: &EgressRecord) -> Result<(), FirewallError> {
        let path = self.records.egress_path(container);
        let before: Option<EgressRecord> = records::read(&path)?;
        records::replace(&path, record)?;
        let set = self.restrict_recorded(container, record);
        if set.is_err() {
            // What can't be set must not stand in the way when the table is made anew.
            match &before {
                Some(before) => records::replace(&path, before)?,
                None => records::remove(&path)?,
            }
        }
        set?;
        match before {
            Some(before) if before != *record => self.sweep(container, &before, Some(record)),
            _ => Ok(()),
        }
    }

    fn restrict_recorded(&mut self, container: &str, record: &EgressRecord) -> Result<(), FirewallError> {
        for _ in 0..ATTEMPTS {
            if !self.is_whole()? {
                self.restore_table()?;
            }
            self.install(container, record)?;
            // After a flush in between, another state directory may have made the table anew without the chains that lead to
            // the rules (decision 33).
            if self.has_egress_chains()? {
                return Ok(());
            }
        }
        Err(FirewallError::Change(NftablesError::Missing))
    }

    fn has_egress_chains(&mut self) -> Result<bool, FirewallError> {
        for chain in CHAINS {
            if !self.socket.has_chain(TABLE, chain.name).map_err(FirewallError::Read)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets what a container may reach; success when nothing was set.
    pub fn unrestrict(&mut self, container: &str) -> Result<(), FirewallError> {
        self.forget(container)?;
        self.settle(container)
    }

    /// Forgets the addresses that a container has given back ([`Firewall::close_some`]); success when there are none.
    pub fn settle(&mut self, container: &str) -> Result<(), FirewallError> {
        self.forget(&leaving(container))
    }

    fn forget(&mut self, name: &str) -> Result<(), FirewallError> {
        let path = self.records.egress_path(name);
        let Some(before) = records::read::<EgressRecord>(&path)? else { return Ok(records::remove(&path)?) };
        self.sweep(name, &before, None)?;
        records::remove(&path)?;
        // Whoever has restored the table between the two has put back what the record said.
        for element in &before.parts(name).elements {
            if self.holds(element)? {
                return self.sweep(name, &before, None);
            }
        }
        Ok(())
    }

    /// Whether something is set for a container, asked without the kernel.
    pub fn has_restrictions(host: &Host, container: &str) -> bool {
        let records = Records::new(host.state_directory.clone());
        [container, &leaving(container)].into_iter().any(|name| records.egress_path(name).exists())
    }

    /// What a container may reach, if that was set.
    pub fn restrictions(&self, container: &str) -> Result<Option<EgressRecord>, FirewallError> {
        Ok(records::read(&self.records.egress_path(container))?)
    }

    /// The containers for which something is set.
    pub fn restricted(&self) -> Result<Vec<String>, RecordError> {
        let mut names = self.records.egress()?;
        names.retain(|name| !is_leaving(name));
        Ok(names)
    }

    /// Whether a container's rules are all in the kernel.
    pub fn is_restricted(&mut self, container: &str, record: &EgressRecord) -> Result<bool, FirewallError> {
        let parts = record.parts(container);
        for (map, wanted) in &parts.elements {
            let found = self.socket.element(TABLE, map, &wanted.key).map_err(FirewallError::Read)?;
            if found.is_none_or(|found| found != *wanted) {
                return Ok(false);
            }
        }
        for (chain, rules) in parts.chains.iter().flat_map(RuleChain::chains) {
            match self.socket.count_rules(TABLE, &chain) {
                Ok(count) if count == rules => {}
                Ok(_) | Err(NftablesError::Missing) => return Ok(false),
                Err(error) => return Err(FirewallError::Read(error)),
            }
        }
        self.is_whole()
    }

    /// Puts a record's elements into the kernel, and its chains where they are missing.
    fn install(&mut self, container: &str, record: &EgressRecord) -> Result<(), FirewallError> {
        let parts = record.parts(container);
        // A batch that leads to a chain that is missing is refused, for which the kernel waits a grace period.
        let mut with_chains = false;
        for chain in &parts.chains {
            with_chains |= !self.socket.has_chain(TABLE, &chain.name).map_err(FirewallError::Read)?;
        }
        for attempt in 1.. {
            let mut batch = Batch::new(TABLE);
            if with_chains {
                parts.chains.iter().for_each(|chain| chain.define(&mut batch));
            }
            elements::add(&mut batch, &parts.guards, false);
            for (map, wanted) in &parts.elements {
                let found = self.socket.element(TABLE, map, &wanted.key).map_err(FirewallError::Read)?;
                if found.as_ref() == Some(wanted) {
                    continue;
                }
                if found.is_some() {
                    // Of this container's list before, or of a container that is gone and whose address this one has.
                    batch.delete_elements(map, &[Element { key: wanted.key.clone(), ..Element::default() }]);
                }
                batch.add_elements(map, std::slice::from_ref(wanted), true);
            }
            match self.socket.commit(&batch) {
                // The chain of a list that its last user has just given up.
                Err(NftablesError::Missing) if attempt <= ATTEMPTS => with_chains = true,
                Err(NftablesError::Taken) if attempt <= ATTEMPTS => {}
                result => return result.map_err(FirewallError::Change),
            }
        }
        Ok(())
    }

    /// Puts all records into the kernel; gives those that were put there. Where one can't be, its container reaches nothing.
    pub(in super::super) fn restore_egress(&mut self) -> Result<RestoredEgress, FirewallError> {
        let mut restored = RestoredEgress::default();
        let mut records = Vec::new();
        for container in self.records.egress()? {
            records.extend(self.restrictions(&container)?.map(|record| (container, record)));
        }
        // An address of one that is leaving may be another's by now, who comes later and has it.
        records.sort_by_key(|(_, record)| !record.is_closed());
        for (container, record) in records {
            match self.install(&container, &record) {
                Ok(()) => restored.records.push((container, record)),
                Err(error) => {
                    restored.failure.get_or_insert(error);
                    let closed = record.closed();
                    self.install(&container, &closed)?;
                    restored.records.push((container, closed));
                }
            }
        }
        Ok(restored)
    }

    /// Takes back what was put into the kernel for containers that have other rules by now, or none.
    pub(in super::super) fn take_back_egress(
        &mut self,
        restored: &RestoredEgress,
    ) -> Result<(), FirewallError> {
        for (container, record) in &restored.records {
            let now = self.restrictions(container)?;
            if now.as_ref() != Some(record) {
                self.sweep(container, record, now.as_ref())?;
            }
        }
        Ok(())
    }
}

/// What came of putting records into the kernel.
#[derive(Debug, Default)]
pub(in super::super) struct RestoredEgress {
    records: Vec<(String, EgressRecord)>,
    /// Why one could not be put there.
    pub(in super::super) failure: Option<FirewallError>,
}
