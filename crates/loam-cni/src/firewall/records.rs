//! The records of what the tables must hold.

mod kinds;

use std::path::PathBuf;

pub(crate) use kinds::ChainRecord;
pub use kinds::{AdmissionRecord, Elsewhere, NetworkRecord, PortsRecord};

use crate::records::{OwnedRecord, RecordError, Records, is_empty, names, read, remove, replace};

impl Records {
    pub(super) fn egress_path(&self, container: &str) -> PathBuf {
        self.directory().join("egress").join(container)
    }

    /// The containers that have rules on what they may reach.
    pub(super) fn egress(&self) -> Result<Vec<String>, RecordError> {
        names(&self.directory().join("egress"))
    }

    /// Whether any container has rules on what it may reach.
    pub(super) fn has_egress_records(&self) -> Result<bool, RecordError> {
        Ok(!is_empty(&self.directory().join("egress"))?)
    }

    fn network_path(&self, network: &str) -> PathBuf {
        self.directory().join("networks").join(network)
    }

    pub(super) fn keep_network(&self, network: &str, record: &NetworkRecord) -> Result<(), RecordError> {
        if self.network(network)?.as_ref() == Some(record) {
            return Ok(());
        }
        replace(&self.network_path(network), record)
    }

    pub(super) fn network(&self, network: &str) -> Result<Option<NetworkRecord>, RecordError> {
        read(&self.network_path(network))
    }

    pub(super) fn forget_network(&self, network: &str) -> Result<(), RecordError> {
        remove(&self.network_path(network))
    }

    pub(super) fn networks(&self) -> Result<Vec<NetworkRecord>, RecordError> {
        let names = names(&self.directory().join("networks"))?;
        let records = names.iter().map(|name| self.network(name));
        Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Whether nothing is recorded that our own table must hold.
    pub(super) fn is_empty(&self) -> Result<bool, RecordError> {
        for kind in ["networks", PortsRecord::DIRECTORY, AdmissionRecord::DIRECTORY, "egress"] {
            if !is_empty(&self.directory().join(kind))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
