//! Whether the tables are there and whole, and making them anew from the records.

use super::elements;
use super::records::PortsRecord;
use super::ruleset;
use super::{Firewall, FirewallError, TABLE};
use crate::nftables::{Batch, Element, NftablesError};

impl Firewall {
    /// Whether every rule of the table is there, and our records are in it.
    pub(super) fn is_whole(&mut self) -> Result<bool, FirewallError> {
        let found = match self.socket.chains(TABLE) {
            Err(NftablesError::Missing) => return Ok(false),
            found => found.map_err(FirewallError::Read)?,
        };
        let is_marked = found.iter().any(|(name, _)| *name == self.mark);
        let is_there = |wanted| found.iter().any(|(name, uses)| (name.as_str(), *uses) == wanted);
        Ok(is_marked && ruleset::uses().all(is_there))
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
        self.define(|| Batch::new(TABLE), ruleset::define).map_err(FirewallError::Change)?;
        let mut parts: Vec<Vec<(&str, Element)>> = Vec::new();
        parts.extend(self.records.networks()?.iter().map(elements::sources));
        for (owner, record) in self.records.all::<PortsRecord>()? {
            let comment = owner.owner().comment();
            parts.push(elements::surroundings(&record));
            parts.push(elements::everyone(&record, &comment));
            parts.push(elements::ports(&record.mappings, &comment));
        }
        parts.extend(self.admissions()?);
        for part in parts {
            let mut batch = Batch::new(TABLE);
            elements::add(&mut batch, &part, false);
            match self.socket.commit(&batch) {
                // Records of the dead may contradict each other; their next DEL removes them.
                Ok(()) | Err(NftablesError::Taken | NftablesError::Refused(_)) => {}
                Err(error) => return Err(FirewallError::Change(error)),
            }
        }
        let egress = self.restore_egress();
        let mut marked = Batch::new(TABLE);
        marked.add_inner_chain(&self.mark);
        self.socket.commit(&marked).map_err(FirewallError::Change)?;
        egress
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
            Err(NftablesError::Taken | NftablesError::Refused(_)) => {
                let mut anew = begin();
                anew.add_table().delete_table();
                define(&mut anew);
                self.socket.commit(&anew)
            }
            result => result,
        }
    }
}
