//! The records of what the table must hold: one small JSON file each.

use std::fs;
use std::io;
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
    /// The ports.
    pub mappings: Vec<Mapping>,
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
pub(super) struct StoredOwner {
    container: String,
    interface: String,
}

impl StoredOwner {
    pub(super) fn as_owner(&self) -> Owner<'_> {
        Owner { container: &self.container, interface: &self.interface }
    }
}

#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
}

impl Records {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    fn ports_path(&self, owner: &Owner<'_>) -> PathBuf {
        // An interface's name holds no colon and no slash, a container's id neither.
        self.directory.join("ports").join(format!("{}:{}", owner.container, owner.interface))
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

    pub(super) fn keep_ports(&self, owner: &Owner<'_>, record: &PortsRecord) -> Result<(), RecordError> {
        write(&self.ports_path(owner), record)
    }

    pub(super) fn ports(&self, owner: &Owner<'_>) -> Result<Option<PortsRecord>, RecordError> {
        read(&self.ports_path(owner))
    }

    pub(super) fn forget_ports(&self, owner: &Owner<'_>) -> Result<(), RecordError> {
        remove(&self.ports_path(owner))
    }

    pub(super) fn all_ports(&self) -> Result<Vec<(StoredOwner, PortsRecord)>, RecordError> {
        let directory = self.directory.join("ports");
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

    pub(super) fn owners(&self, network: &str) -> Result<Vec<(String, String)>, RecordError> {
        let all = self.all_ports()?.into_iter();
        Ok(all
            .filter(|(_, record)| record.network == network)
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

/// Writes a record beside and renames it, so that nobody ever sees half of it.
pub(super) fn replace<T: Serialize>(path: &Path, record: &T) -> Result<(), RecordError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}"));
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
