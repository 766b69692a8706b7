//! Containers that leave, whose addresses others get.
//!
//! A container that is detached first reaches nothing ([`Firewall::close`]), then gives its address back, and then its rules go
//! ([`Firewall::unrestrict`]): with the rules gone first, what lives in it still would be free for a moment. One that stays and gives up
//! some of its addresses has a second record until they are gone, `CONTAINER~leaving`, in which those reach nothing
//! ([`Firewall::close_some`]). Whoever gets the address in between is rid of its rules at once ([`Firewall::claim`]). Each step
//! changes only elements that are the container's still when it is made, so that one that comes late, after a kill, changes
//! nothing of the address's new owner.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::{Firewall, FirewallError, TABLE};
use super::chain::RuleChain;
use super::{EgressRecord, Family, Parts};
use crate::firewall::elements::address_bytes;
use crate::nftables::{Element, NftablesError};
use crate::protocol::Host;
use crate::records::{self, RecordError, Records};

/// How often it is tried again when a chain vanishes underneath.
const ATTEMPTS: u32 = 3;
/// What the name of such a record ends with: no container id has this character (CNI specification, section 2, CNI_CONTAINERID).
const LEAVING: &str = "~leaving";

/// The name of the record of addresses that a container is about to give back.
pub(super) fn leaving(container: &str) -> String {
    format!("{container}{LEAVING}")
}

/// Whether a record is one of addresses that a container is about to give back.
pub(super) fn is_leaving(name: &str) -> bool {
    name.ends_with(LEAVING)
}

impl Firewall {
    /// Has a container reach nothing from now on, by those of its addresses that no other container has got meanwhile. Success when
    /// nothing was set, and when it was done before, or begun by one that was killed.
    pub fn close(&mut self, container: &str) -> Result<(), FirewallError> {
        let path = self.records.egress_path(container);
        let Some(before) = records::read::<EgressRecord>(&path)? else { return Ok(()) };
        let closed = before.clone().closed();
        if closed != before {
            records::replace(&path, &closed)?;
        }
        let parts = closed.parts(container);
        let outdated = self.close_elements(&[container], &parts)?;
        if closed != before {
            return self.sweep(container, &before, Some(&closed));
        }
        for chain in outdated.iter().filter(|old| !parts.chains.iter().any(|chain| chain.name == **old)) {
            self.remove_chain(chain)?;
        }
        Ok(())
    }

    /// Has a container that stays reach nothing by addresses that it is about to give back. What it may reach by its others stays as
    /// it is. Success when nothing was set.
    pub fn close_some(&mut self, container: &str, addresses: &[IpAddr]) -> Result<(), FirewallError> {
        let path = self.records.egress_path(container);
        let Some(before) = records::read::<EgressRecord>(&path)? else { return Ok(()) };
        let (gone, left): (Vec<_>, Vec<_>) =
            before.addresses.iter().copied().partition(|address| addresses.contains(address));
        let after = EgressRecord { addresses: left, ..before.clone() };
        let leaving = leaving(container);
        let leaving_path = self.records.egress_path(&leaving);
        let mut closed = EgressRecord { addresses: gone, ..EgressRecord::default() }.closed();
        // Those of one that was killed.
        closed.addresses.extend(
            records::read::<EgressRecord>(&leaving_path)?.map(|record| record.addresses).unwrap_or_default(),
        );
        closed.addresses.sort_unstable();
        closed.addresses.dedup();
        if closed.addresses.is_empty() {
            return Ok(());
        }
        records::replace(&leaving_path, &closed)?;
        self.close_elements(&[container, &leaving], &closed.parts(&leaving))?;
        records::replace(&path, &after)?;
        self.sweep(container, &before, Some(&after))
    }

    /// Has those of the elements lead to their chains, which let nothing pass, that are of one of these containers; gives the chains
    /// that they led to before.
    fn close_elements(&mut self, of: &[&str], parts: &Parts) -> Result<BTreeSet<String>, FirewallError> {
        let comments: Vec<_> = of.iter().map(|container| Some(super::comment(container))).collect();
        let mut outdated = BTreeSet::new();
        for attempt in 1.. {
            let changed = self.look_and_change(|firewall, batch| {
                for chain in &parts.chains {
                    if !firewall.socket.has_chain(TABLE, &chain.name).map_err(FirewallError::Read)? {
                        RuleChain::define(chain, batch);
                    }
                }
                let mut is_changed = false;
                for (map, wanted) in &parts.elements {
                    let found =
                        firewall.socket.element(TABLE, map, &wanted.key).map_err(FirewallError::Read)?;
                    let Some(found) = found.filter(|found| comments.contains(&found.comment)) else {
                        continue;
                    };
                    if found != *wanted {
                        let key = Element { key: wanted.key.clone(), ..Element::default() };
                        batch.delete_elements(map, &[key]);
                        batch.add_elements(map, std::slice::from_ref(wanted), true);
                        outdated.extend(found.chain);
                        is_changed = true;
                    }
                }
                if !is_changed {
                    batch.clear();
                }
                Ok(())
            });
            match changed {
                Err(FirewallError::Change(NftablesError::Missing | NftablesError::Taken))
                    if attempt < ATTEMPTS => {}
                // Without the table nothing was restricted.
                Err(FirewallError::Change(NftablesError::Missing)) => break,
                changed => {
                    changed?;
                    break;
                }
            }
        }
        Ok(outdated)
    }

    /// Takes addresses that a container has just got from those who had them, and whose rules are there still because they are just
    /// leaving, or were killed at it. One that somebody has who stays is an error.
    pub fn claim(&mut self, container: &str, addresses: &[IpAddr]) -> Result<(), FirewallError> {
        let mut others = Vec::new();
        for address in addresses {
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            for map in family.maps() {
                let key = address_bytes(*address);
                let found = self.socket.element(TABLE, map, &key).map_err(FirewallError::Read)?;
                let is_other = |found: &Element| found.comment != Some(super::comment(container));
                let Some(found) = found.filter(is_other) else { continue };
                if let Some(owner) = found.comment.clone()
                    && self.stays(&owner, *address)?
                {
                    return Err(FirewallError::AddressTaken { address: *address, owner });
                }
                others.push((map, found));
            }
        }
        if others.is_empty() { Ok(()) } else { self.remove_own(&others) }
    }

    /// Whether a container has an address for good, as far as can be told: by its record, or because it has none here and may have
    /// one in another state directory.
    fn stays(&mut self, container: &str, address: IpAddr) -> Result<bool, FirewallError> {
        match self.restrictions(container)? {
            Some(record) => Ok(record.addresses.contains(&address) && !record.is_closed()),
            None => self.has_other_marks(),
        }
    }

    /// Whether something is set for any container, asked without the kernel.
    pub fn has_any_restrictions(host: &Host) -> Result<bool, RecordError> {
        Records::new(host.state_directory.clone()).has_egress_records()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_container_has_the_name_of_such_a_record() {
        assert!(is_leaving(&leaving("web")));
        for id in ["web", "web.leaving", "web_leaving", "leaving"] {
            assert!(!is_leaving(id), "{id}");
        }
    }
}
