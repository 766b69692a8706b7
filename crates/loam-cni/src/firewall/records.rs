//! The records of what the table must hold: one small JSON file each.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Owner;
use super::elements::Mapping;

/// What is masqueraded for a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its subnets.
    pub sources: Vec<IpNet>,
}

/// What is published for an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsRecord {
    /// The network.
    pub network: String,
    /// The link that leads to the container, if the host's loopback shall reach it.
    #[serde(default)]
    pub bridge: Option<String>,
    /// The subnets whose own traffic to published ports is masqueraded.
    #[serde(default)]
    pub hairpin: Vec<IpNet>,
    /// Whether clients of published ports are all masqueraded.
    #[serde(default)]
    pub masquerade_all: bool,
    /// The ports.
    pub mappings: Vec<Mapping>,
}

/// What is let through for an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionRecord {
    /// The network.
    pub network: String,
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The bridge whose containers only those on it may reach, or none.
    #[serde(default)]
    pub bridge: Option<String>,
    /// Whether containers on that bridge reach each other.
    #[serde(default)]
    pub within: bool,
    /// What lets addresses through that are not in the table.
    #[serde(default)]
    pub elsewhere: Option<Elsewhere>,
}

/// What lets an attachment's addresses through in the table's stead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The backend's name.
    pub backend: String,
    /// firewalld's zone.
    #[serde(default)]
    pub zone: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// That an attachment has a chain of iptables, whose name follows from network and container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainRecord<const MASQUERADE: bool> {
    /// The network.
    pub network: String,
}

/// A record that belongs to an attachment.
pub(crate) trait OwnedRecord: Serialize + DeserializeOwned {
    /// The directory of such records.
    const DIRECTORY: &'static str;
    /// The network of the attachment.
    fn network(&self) -> &str;
}

impl OwnedRecord for PortsRecord {
    const DIRECTORY: &'static str = "ports";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for AdmissionRecord {
    const DIRECTORY: &'static str = "admissions";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for ChainRecord<true> {
    const DIRECTORY: &'static str = "iptables-masquerade";
    fn network(&self) -> &str {
        &self.network
    }
}

impl OwnedRecord for ChainRecord<false> {
    const DIRECTORY: &'static str = "iptables-ports";
    fn network(&self) -> &str {
        &self.network
    }
}

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

/// An owner read from the name of a record.
pub(crate) struct StoredOwner {
    container: String,
    interface: String,
}

impl StoredOwner {
    pub(crate) fn as_owner(&self) -> Owner<'_> {
        Owner { container: &self.container, interface: &self.interface }
    }
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
        // A name with a dot before is a record that is just written.
        let names = names(&self.directory.join("egress"))?;
        Ok(names.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    pub(super) fn keep_network(&self, network: &str, record: &NetworkRecord) -> Result<(), RecordError> {
        let path = self.directory.join("networks").join(network);
        if read::<NetworkRecord>(&path)?.as_ref() == Some(record) {
            return Ok(());
        }
        write(&path, record)
    }

    pub(super) fn network(&self, network: &str) -> Result<Option<NetworkRecord>, RecordError> {
        read(&self.directory.join("networks").join(network))
    }

    pub(super) fn forget_network(&self, network: &str) -> Result<(), RecordError> {
        let path = self.directory.join("networks").join(network);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(RecordError::Remove(path, cause)),
            _ => Ok(()),
        }
    }

    pub(super) fn networks(&self) -> Result<Vec<NetworkRecord>, RecordError> {
        let names = names(&self.directory.join("networks"))?;
        let records = names.iter().map(|name| read(&self.directory.join("networks").join(name)));
        Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Whether nothing is recorded.
    pub(super) fn is_empty(&self) -> Result<bool, RecordError> {
        for kind in ["networks", PortsRecord::DIRECTORY, AdmissionRecord::DIRECTORY] {
            if !names(&self.directory.join(kind))?.is_empty() {
                return Ok(false);
            }
        }
        Ok(self.egress()?.is_empty())
    }

    /// Keeps an attachment's record.
    pub(crate) fn keep<T: OwnedRecord>(&self, owner: &Owner<'_>, record: &T) -> Result<(), RecordError> {
        write(&self.path(T::DIRECTORY, owner), record)
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
    pub(super) fn all<T: OwnedRecord>(&self) -> Result<Vec<(StoredOwner, T)>, RecordError> {
        let directory = self.directory.join(T::DIRECTORY);
        let mut found = Vec::new();
        for name in names(&directory)? {
            let Some((container, interface)) = name.split_once(':') else { continue };
            if let Some(record) = read(&directory.join(&name))? {
                found
                    .push((StoredOwner { container: container.into(), interface: interface.into() }, record));
            }
        }
        Ok(found)
    }

    /// The attachments of a network that have a record: container id and interface.
    pub(crate) fn owners<T: OwnedRecord>(&self, network: &str) -> Result<Vec<(String, String)>, RecordError> {
        let all = self.all::<T>()?.into_iter();
        Ok(all
            .filter(|(_, record)| record.network() == network)
            .map(|(owner, _)| (owner.container, owner.interface))
            .collect())
    }
}

/// The names in a directory; none when there is no directory.
fn names(directory: &Path) -> Result<Vec<String>, RecordError> {
    let failed = |cause| RecordError::Read(directory.to_owned(), cause);
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        names.extend(name.into_string().ok());
    }
    Ok(names)
}

/// Reads a record. One that is gone, or that a crash of the machine left empty, is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(RecordError::Read(path.to_owned(), cause)),
    }
}

/// Removes a record; success when there is none.
pub(super) fn remove(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::Remove(path.to_owned(), cause))
        }
        _ => Ok(()),
    }
}

/// Removes a record, and what a writer that was killed had not renamed yet.
pub(super) fn remove_with_beside(path: &Path) -> Result<(), RecordError> {
    remove(&beside(path))?;
    remove(path)
}

/// Where a record is written before it has its name.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}"))
}

/// Writes a record beside and renames it, so that nobody ever sees half of it.
pub(super) fn replace<T: Serialize>(path: &Path, record: &T) -> Result<(), RecordError> {
    let beside = beside(path);
    write(&beside, record)?;
    fs::rename(&beside, path).map_err(|cause| RecordError::Write(path.to_owned(), cause))
}

/// Writes a record, and makes the directory only when it is missing. A reader who sees half of it takes it for none,
/// which harms nobody: whoever writes a record puts the same into the kernel itself right after.
fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), RecordError> {
    let failed = |cause| RecordError::Write(path.to_owned(), cause);
    let bytes = serde_json::to_vec(record).map_err(|cause| failed(cause.into()))?;
    match fs::write(path, &bytes) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
            fs::write(path, &bytes).map_err(failed)
        }
        result => result.map_err(failed),
    }
}
