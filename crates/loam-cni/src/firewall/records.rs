//! The records of what the tables must hold: one small JSON file each.

mod kinds;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use kinds::{AdmissionRecord, Elsewhere, NetworkRecord, PortsRecord};
pub(crate) use kinds::{ChainRecord, OwnedRecord};

use crate::protocol::{Attachment, Owner};
use crate::state_file;

/// Why a record can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Writing failed.
    #[error("writing firewall record `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
    /// Reading failed.
    #[error("reading firewall record `{0}` failed")]
    Read(PathBuf, #[source] io::Error),
    /// Removing failed.
    #[error("removing firewall record `{0}` failed")]
    Remove(PathBuf, #[source] io::Error),
}

#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
}

impl Records {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// The path of an attachment's record.
    fn path(&self, kind: &str, owner: &Owner<'_>) -> PathBuf {
        // An interface's name holds no colon and no slash, a container's id neither.
        self.directory.join(kind).join(format!("{}:{}", owner.container, owner.interface))
    }

    pub(super) fn egress_path(&self, container: &str) -> PathBuf {
        self.directory.join("egress").join(container)
    }

    /// The containers that have rules on what they may reach.
    pub(super) fn egress(&self) -> Result<Vec<String>, RecordError> {
        names(&self.directory.join("egress"))
    }

    fn network_path(&self, network: &str) -> PathBuf {
        self.directory.join("networks").join(network)
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
        let names = names(&self.directory.join("networks"))?;
        let records = names.iter().map(|name| self.network(name));
        Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Whether nothing is recorded that our own table must hold.
    pub(super) fn is_empty(&self) -> Result<bool, RecordError> {
        for kind in ["networks", PortsRecord::DIRECTORY, AdmissionRecord::DIRECTORY, "egress"] {
            if !names(&self.directory.join(kind))?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps an attachment's record.
    pub(crate) fn keep<T: OwnedRecord>(&self, owner: &Owner<'_>, record: &T) -> Result<(), RecordError> {
        replace(&self.path(T::DIRECTORY, owner), record)
    }

    /// Reads an attachment's record.
    pub(crate) fn get<T: OwnedRecord>(&self, owner: &Owner<'_>) -> Result<Option<T>, RecordError> {
        read(&self.path(T::DIRECTORY, owner))
    }

    /// Removes an attachment's record; success when there is none.
    pub(crate) fn forget<T: OwnedRecord>(&self, owner: &Owner<'_>) -> Result<(), RecordError> {
        remove(&self.path(T::DIRECTORY, owner))
    }

    /// The records of all attachments.
    pub(super) fn all<T: OwnedRecord>(&self) -> Result<Vec<(Attachment, T)>, RecordError> {
        let directory = self.directory.join(T::DIRECTORY);
        let mut found = Vec::new();
        for name in names(&directory)? {
            let Some((container, interface)) = name.split_once(':') else { continue };
            let owner = Attachment { container_id: container.into(), ifname: interface.into() };
            found.extend(read(&directory.join(&name))?.map(|record| (owner, record)));
        }
        Ok(found)
    }

    /// The attachments of a network that have a record.
    pub(crate) fn owners<T: OwnedRecord>(&self, network: &str) -> Result<Vec<Attachment>, RecordError> {
        let all = self.all::<T>()?.into_iter();
        Ok(all.filter(|(_, record)| record.network() == network).map(|(owner, _)| owner).collect())
    }
}

fn names(directory: &Path) -> Result<Vec<String>, RecordError> {
    state_file::names(directory).map_err(|cause| RecordError::Read(directory.to_owned(), cause))
}

/// Reads a record. One that is gone, or that a crash of the machine left empty, is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    state_file::read_json(path).map_err(|cause| RecordError::Read(path.to_owned(), cause))
}

/// Writes a record in place of the one before.
pub(super) fn replace<T: Serialize>(path: &Path, record: &T) -> Result<(), RecordError> {
    state_file::replace_json(path, record).map_err(|cause| RecordError::Write(path.to_owned(), cause))
}

/// Removes a record; success when there is none.
pub(super) fn remove(path: &Path) -> Result<(), RecordError> {
    state_file::remove(path).map_err(|cause| RecordError::Remove(path.to_owned(), cause))
}
