//! Changing what the sets and maps hold.

use super::elements;
use super::{ATTEMPTS, Firewall, FirewallError, TABLE};
use crate::nftables::{Batch, Element, NftablesError};

/// How often what others change meanwhile is looked at anew. A look takes a tenth of a millisecond.
const UNCHANGED_ATTEMPTS: u32 = 1000;

impl Firewall {
    /// Makes a change to sets and maps, and before it, or when it fails for lack of them, the table itself.
    pub(super) fn change(&mut self, fill: impl Fn(&mut Batch)) -> Result<(), FirewallError> {
        if !self.is_whole()? {
            self.restore_table()?;
        }
        for attempt in 1.. {
            let mut batch = Batch::new(TABLE);
            fill(&mut batch);
            match self.socket.commit(&batch) {
                Err(NftablesError::Missing) if attempt < ATTEMPTS => self.restore_table()?,
                result => return result.map_err(FirewallError::Change),
            }
        }
        Ok(())
    }

    /// Whether a set holds an element with this comment.
    pub(super) fn holds(&mut self, (set, wanted): &(&'static str, Element)) -> Result<bool, FirewallError> {
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

    /// Removes those of the elements that carry their comment. One whose key somebody else gets between the look and the
    /// change is left alone.
    pub(super) fn remove_own(&mut self, elements: &[(&'static str, Element)]) -> Result<(), FirewallError> {
        self.look_and_change(|firewall, batch| {
            for (set, element) in elements {
                if firewall.holds(&(*set, element.clone()))? {
                    batch.delete_elements(set, &[Element { key: element.key.clone(), ..Element::default() }]);
                }
            }
            Ok(())
        })
    }

    /// Makes a change that follows from what was just looked at, once nobody changes anything between the two.
    pub(super) fn look_and_change(
        &mut self,
        mut look: impl FnMut(&mut Self, &mut Batch) -> Result<(), FirewallError>,
    ) -> Result<(), FirewallError> {
        for attempt in 1.. {
            let generation = self.socket.generation().map_err(FirewallError::Read)?;
            let mut batch = Batch::new(TABLE);
            batch.only_at(generation);
            look(self, &mut batch)?;
            match self.socket.commit(&batch) {
                Err(NftablesError::Changed) if attempt < UNCHANGED_ATTEMPTS => {}
                result => return result.map_err(FirewallError::Change),
            }
        }
        Ok(())
    }

    /// Removes elements, those that are there.
    pub(super) fn remove_any(&mut self, elements: &[(&'static str, Element)]) -> Result<(), FirewallError> {
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
