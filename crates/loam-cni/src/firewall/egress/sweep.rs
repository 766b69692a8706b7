//! Removing what no container has any more.

use std::collections::BTreeSet;

use super::super::elements;
use super::super::{Firewall, FirewallError, TABLE};
use super::EgressRecord;
use super::chain;
use super::ruleset::{OWN, RULED, SENDERS4, SENDERS6};
use crate::netlink::{RouteSocket, text};
use crate::nftables::{Batch, Element, NftablesError};

/// Bytes of a link's name in a key (`IFNAMSIZ`).
const LINK_NAME: usize = 16;

impl Firewall {
    /// Removes what a record had and the one after it has not.
    pub(super) fn sweep(
        &mut self,
        container: &str,
        before: &EgressRecord,
        after: Option<&EgressRecord>,
    ) -> Result<(), FirewallError> {
        let old = before.parts(container);
        let kept = after.map(|record| record.parts(container));
        let is_kept = |map: &str, key: &[u8]| {
            kept.as_ref().is_some_and(|kept| kept.elements.iter().any(|(m, e)| *m == map && e.key == key))
        };
        let mut gone = old.elements;
        gone.retain(|(map, element)| !is_kept(map, &element.key));
        self.remove_own(&gone)?;
        for (set, guard) in old.guards.iter().filter(|(set, _)| *set != RULED) {
            if kept
                .as_ref()
                .is_some_and(|kept| kept.guards.iter().any(|(s, e)| s == set && e.key == guard.key))
            {
                continue;
            }
            let mut batch = Batch::new(TABLE);
            batch.delete_elements(set, std::slice::from_ref(guard));
            self.attempt(&batch)?;
        }
        for chain in &old.chains {
            if kept.as_ref().is_some_and(|kept| kept.chains.iter().any(|other| other.name == chain.name)) {
                continue;
            }
            self.remove_chain(&chain.name)?;
        }
        Ok(())
    }

    /// Removes a chain that nothing leads to, and what belongs to it.
    pub(super) fn remove_chain(&mut self, name: &str) -> Result<(), FirewallError> {
        let mut batch = Batch::new(TABLE);
        batch.delete_chain(name);
        self.attempt(&batch)?;
        let mut batch = Batch::new(TABLE);
        batch.delete_chain(&chain::inner_chain(name));
        self.attempt(&batch)?;
        let mut batch = Batch::new(TABLE);
        batch.delete_set(&chain::meter(name));
        self.attempt(&batch)
    }

    /// Removes what nobody has any more and changes that were killed half way have left: chains of lists, and guards of
    /// links.
    pub fn sweep_restrictions(&mut self) -> Result<(), FirewallError> {
        self.sweep_own_links()?;
        self.sweep_chains()
    }

    /// Removes the chains of lists that nobody has. One that is in use the kernel keeps.
    fn sweep_chains(&mut self) -> Result<(), FirewallError> {
        for (name, _) in self.found_chains()?.iter().filter(|(name, _)| chain::is_list(name)) {
            self.remove_chain(name)?;
        }
        Ok(())
    }

    /// Removes something that may be gone already, or that others still use.
    fn attempt(&mut self, batch: &Batch) -> Result<(), FirewallError> {
        match self.socket.commit(batch) {
            Ok(()) | Err(NftablesError::Missing | NftablesError::Taken) => Ok(()),
            Err(error) => Err(FirewallError::Change(error)),
        }
    }

    /// Removes the guards of containers' own links that belong to no container with rules and whose link is gone. What
    /// guards a link that is there may be another run directory's.
    pub(in super::super) fn sweep_own_links(&mut self) -> Result<(), FirewallError> {
        let mut found = Vec::new();
        for set in [OWN, SENDERS4, SENDERS6] {
            match self.socket.elements(TABLE, set) {
                Err(NftablesError::Missing) => {}
                elements => {
                    let keys = elements.map_err(FirewallError::Read)?.into_iter().map(|element| element.key);
                    found.extend(keys.map(|key| (set, Element { key, ..Element::default() })));
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let wanted = self.own_guards()?;
        found.retain(|(set, element)| !wanted.contains(&(*set, element.key.clone())));
        let mut found = without_links(found)?;
        for (set, stray) in &found {
            let mut batch = Batch::new(TABLE);
            batch.delete_elements(set, std::slice::from_ref(stray));
            self.attempt(&batch)?;
        }
        // Whoever has set one meanwhile had written its record before.
        let wanted = if found.is_empty() { wanted } else { self.own_guards()? };
        found.retain(|(set, element)| wanted.contains(&(*set, element.key.clone())));
        if found.is_empty() { Ok(()) } else { self.change(|batch| elements::add(batch, &found, false)) }
    }

    /// What guards the own links of all containers with rules: set and key.
    fn own_guards(&self) -> Result<BTreeSet<(&'static str, Vec<u8>)>, FirewallError> {
        let mut guards = BTreeSet::new();
        for container in self.records.egress()? {
            let record = self.restrictions(&container)?;
            let of_record = record.iter().flat_map(EgressRecord::guards);
            guards
                .extend(of_record.filter(|(set, _)| *set != RULED).map(|(set, element)| (set, element.key)));
        }
        Ok(guards)
    }
}

/// Those elements whose link, which their key begins with, is not there.
fn without_links(
    elements: Vec<(&'static str, Element)>,
) -> Result<Vec<(&'static str, Element)>, FirewallError> {
    let failed = |error| FirewallError::Read(NftablesError::Netlink(error));
    let mut socket = RouteSocket::open().map_err(failed)?;
    let mut gone = Vec::new();
    for (set, element) in elements {
        let name = text(element.key.get(..LINK_NAME).unwrap_or_default());
        if socket.link(&name).map_err(failed)?.is_none() {
            gone.push((set, element));
        }
    }
    Ok(gone)
}
