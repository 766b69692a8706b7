//! Containers that leave, whose addresses others get.
//!
//! A container that is detached first reaches nothing ([`Firewall::close`]), then gives its address back, and then its rules go
//! ([`Firewall::unrestrict`]): with the rules gone first, what lives in it still would be free for a moment. Whoever gets the
//! address in between is rid of its rules at once ([`Firewall::claim`]). Each step changes only elements that are the container's
//! still when it is made, so that one that comes late, after a kill, changes nothing of the address's new owner.

use std::net::IpAddr;

use super::super::{Firewall, FirewallError, TABLE};
use super::chain::RuleChain;
use super::{EgressRecord, Family};
use crate::firewall::elements::address_bytes;
use crate::nftables::{Element, NftablesError};
use crate::protocol::Host;
use crate::records::{self, RecordError, Records};

/// How often it is tried again when a chain vanishes underneath.
const ATTEMPTS: u32 = 3;

impl Firewall {
    /// Has a container reach nothing from now on, by those of its addresses that no other container has got meanwhile. Success when
    /// nothing was set.
    pub fn close(&mut self, container: &str) -> Result<(), FirewallError> {
        let path = self.records.egress_path(container);
        let Some(before) = records::read::<EgressRecord>(&path)?.filter(|record| !record.is_closed()) else {
            return Ok(());
        };
        let closed = before.clone().closed();
        records::replace(&path, &closed)?;
        let parts = closed.parts(container);
        for attempt in 1.. {
            let changed = self.change_unchanged(|firewall, batch| {
                for chain in &parts.chains {
                    if !firewall.socket.has_chain(TABLE, &chain.name).map_err(FirewallError::Read)? {
                        RuleChain::define(chain, batch);
                    }
                }
                let mut is_changed = false;
                for (map, wanted) in &parts.elements {
                    let found =
                        firewall.socket.element(TABLE, map, &wanted.key).map_err(FirewallError::Read)?;
                    if found.is_some_and(|found| found.comment == wanted.comment && found != *wanted) {
                        batch.delete_elements(
                            map,
                            &[Element { key: wanted.key.clone(), ..Element::default() }],
                        );
                        batch.add_elements(map, std::slice::from_ref(wanted), true);
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
        self.sweep(container, &before, Some(&closed))
    }

    /// Takes addresses that a container has just got from those who had them, and whose rules are there still.
    pub fn claim(&mut self, container: &str, addresses: &[IpAddr]) -> Result<(), FirewallError> {
        let mut others = Vec::new();
        for address in addresses {
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            for map in family.maps() {
                let key = address_bytes(*address);
                let found = self.socket.element(TABLE, map, &key).map_err(FirewallError::Read)?;
                let is_other = |found: &Element| found.comment != Some(super::comment(container));
                others.extend(found.filter(is_other).map(|found| (map, found)));
            }
        }
        if others.is_empty() { Ok(()) } else { self.remove_own(&others) }
    }

    /// Whether something is set for any container, asked without the kernel.
    pub fn has_any_restrictions(host: &Host) -> Result<bool, RecordError> {
        Ok(!Records::new(host.state_directory.clone()).egress()?.is_empty())
    }
}
