//! What containers may reach: rules for what they send to others and to this host.
//!
//! ```text
//! map to-others4, to-others6   a container's address -> the chain of its rules for what is passed on
//! map to-host4, to-host6       a container's address -> the chain of its rules for this host
//! set ruled                    bridges over which only containers with rules may send anything
//! set own                      ends of pairs over which only their container's addresses may send anything
//! set senders4, senders6       link . address, for those
//! chain egress                 base chain: what is passed on
//! chain to-host                base chain: what is for this host
//! chain others-HASH, host-HASH rules; one chain for each distinct list, shared by all containers that have it
//! set rateF-CHAIN              counts of new connections, for lists that limit them
//! ```
//!
//! So a container whose list others have already costs one element, and replacing all rules of a container is one
//! batch: there is no moment with half of them. What belongs to a connection that was allowed passes before any list
//! is asked. A chain that nobody uses any more is removed; the kernel itself refuses that while somebody does.
//!
//! Traffic between two ports of one bridge does not pass here: it is not routed. `portIsolation` of the plugin `bridge`
//! is for that.

mod chain;
mod list;
pub(super) mod ruleset;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::elements::{self, address_bytes, link_bytes};
use super::records::{self, RecordError, Records};
use super::{ATTEMPTS, Firewall, FirewallError, TABLE};
use crate::nftables::{Batch, Element, NftablesError};
use crate::protocol::Host;
use chain::RuleChain;
pub use list::{
    Action, AddressRange, ConnectionRate, Icmp, InvalidRules, PortRange, Protocol, Rule, RuleList,
};
use ruleset::{OWN, RULED, SENDERS4, SENDERS6, TO_HOST4, TO_HOST6, TO_OTHERS4, TO_OTHERS6};

/// What one container may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRecord {
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The rules for what is passed on to others.
    pub to_others: RuleList,
    /// The rules for this host itself.
    pub to_host: RuleList,
    /// The links over which nothing shall pass that is of no container with rules: one for each network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<GuardedLink>,
}

/// A link that what containers send comes in by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardedLink {
    /// Its name.
    pub name: String,
    /// Whether it is of this container alone, and goes with it: its end of a pair rather than a bridge.
    pub own: bool,
}

/// The elements and chains of a record.
struct Parts {
    elements: Vec<(&'static str, Element)>,
    chains: [RuleChain; 2],
    /// What guards the links. That of a bridge stays when the container goes.
    guards: Vec<(&'static str, Element)>,
}

impl EgressRecord {
    fn parts(&self, container: &str) -> Parts {
        let chains = [RuleChain::to_others(&self.to_others), RuleChain::to_host(&self.to_host)];
        let mut elements = Vec::new();
        for address in &self.addresses {
            let maps = if address.is_ipv4() { [TO_OTHERS4, TO_HOST4] } else { [TO_OTHERS6, TO_HOST6] };
            for (map, chain) in maps.into_iter().zip(&chains) {
                let mut comment = container.to_owned();
                comment.truncate(Element::MAX_COMMENT);
                elements.push((
                    map,
                    Element {
                        key: address_bytes(*address),
                        chain: Some(chain.name.clone()),
                        comment: Some(comment),
                        ..Element::default()
                    },
                ));
            }
        }
        Parts { elements, chains, guards: self.guards() }
    }

    fn guards(&self) -> Vec<(&'static str, Element)> {
        self.guarded.iter().flat_map(|link| self.guards_of(link)).collect()
    }

    fn guards_of(&self, link: &GuardedLink) -> Vec<(&'static str, Element)> {
        let element = |key| Element { key, ..Element::default() };
        let name = link_bytes(&link.name);
        if !link.own {
            return vec![(RULED, element(name))];
        }
        let sender = |address: &IpAddr| {
            let set = if address.is_ipv4() { SENDERS4 } else { SENDERS6 };
            (set, element([name.clone(), address_bytes(*address)].concat()))
        };
        let mut guards: Vec<_> = self.addresses.iter().map(sender).collect();
        guards.push((OWN, element(name.clone())));
        guards
    }
}

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
        if !self.is_whole()? {
            self.restore()?;
        }
        self.install(container, record)
    }

    /// Forgets what a container may reach; success when nothing was set.
    pub fn unrestrict(&mut self, container: &str) -> Result<(), FirewallError> {
        let path = self.records.egress_path(container);
        if let Some(before) = records::read::<EgressRecord>(&path)? {
            self.sweep(container, &before, None)?;
        }
        Ok(records::remove_with_beside(&path)?)
    }

    /// Whether something is set for a container, asked without the kernel.
    pub fn has_restrictions(host: &Host, container: &str) -> bool {
        Records::new(host.state_directory.clone()).egress_path(container).exists()
    }

    /// What a container may reach, if that was set.
    pub fn restrictions(&self, container: &str) -> Result<Option<EgressRecord>, FirewallError> {
        Ok(records::read(&self.records.egress_path(container))?)
    }

    /// The containers for which something is set.
    pub fn restricted(&self) -> Result<Vec<String>, RecordError> {
        self.records.egress()
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

    /// Removes what a record had and the one after it has not.
    fn sweep(
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
        for (map, gone) in old.elements.iter().filter(|(map, element)| !is_kept(map, &element.key)) {
            let found = self.socket.element(TABLE, map, &gone.key).map_err(FirewallError::Read)?;
            if found.is_some_and(|found| found.comment == gone.comment) {
                let mut batch = Batch::new(TABLE);
                batch.delete_elements(map, &[Element { key: gone.key.clone(), ..Element::default() }]);
                self.attempt(&batch)?;
            }
        }
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
    fn remove_chain(&mut self, name: &str) -> Result<(), FirewallError> {
        let mut batch = Batch::new(TABLE);
        batch.delete_chain(name);
        self.attempt(&batch)?;
        let mut batch = Batch::new(TABLE);
        batch.delete_chain(&chain::inner_chain(name));
        self.attempt(&batch)?;
        for meter in chain::meters(name) {
            let mut batch = Batch::new(TABLE);
            batch.delete_set(&meter);
            self.attempt(&batch)?;
        }
        Ok(())
    }

    /// Removes the chains of lists that nobody has any more: those of changes that were killed half way. One that is
    /// in use the kernel keeps.
    pub fn sweep_chains(&mut self) -> Result<(), FirewallError> {
        let chains = match self.socket.chains(TABLE) {
            Err(NftablesError::Missing) => return Ok(()),
            chains => chains.map_err(FirewallError::Read)?,
        };
        for (name, _) in chains.iter().filter(|(name, _)| chain::is_list(name)) {
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

    /// Puts all records into the kernel. Where one can't be, its container reaches nothing.
    pub(super) fn restore_egress(&mut self) -> Result<(), FirewallError> {
        let mut failure = None;
        for container in self.records.egress()? {
            let Some(record) = self.restrictions(&container)? else { continue };
            if let Err(error) = self.install(&container, &record) {
                failure.get_or_insert(error);
                let closed =
                    EgressRecord { to_others: RuleList::reject(), to_host: RuleList::reject(), ..record };
                self.install(&container, &closed)?;
            }
        }
        failure.map_or(Ok(()), Err)
    }
}
