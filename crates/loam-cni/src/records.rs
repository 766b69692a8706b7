//! Records of attachments: what one has that must be found again without the kernel's help, one small JSON file each.
//!
//! ```text
//! STATE_DIRECTORY/KIND/CONTAINER:IFNAME   see [`loam_state_file`] for how they are written
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{Attachment, Owner};

/// A record that belongs to an attachment.
pub(crate) trait OwnedRecord: Serialize + DeserializeOwned {
    /// The directory of such records.
    const DIRECTORY: &'static str;
    /// The network of the attachment.
    fn network(&self) -> &str;
}

/// Why a record can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Writing failed.
    #[error("writing record `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
    /// Reading failed.
    #[error("reading record `{0}` failed")]
    Read(PathBuf, #[source] io::Error),
    /// Removing failed.
    #[error("removing record `{0}` failed")]
    Remove(PathBuf, #[source] io::Error),
}

/// All records below a directory.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
}

impl Records {
    /// Those below [`crate::Host::state_directory`].
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where they are.
    pub(crate) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// The path of an attachment's record.
    fn path(&self, kind: &str, owner: &Owner<'_>) -> PathBuf {
        // An interface's name holds no colon and no slash, a container's id neither.
        self.directory.join(kind).join(format!("{}:{}", owner.container, owner.interface))
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
    pub(crate) fn all<T: OwnedRecord>(&self) -> Result<Vec<(Attachment, T)>, RecordError> {
        let directory = self.directory.join(T::DIRECTORY);
        let mut found = Vec::new();
        for name in names(&directory)? {
            let Some((container, interface)) = name.split_once(':') else { continue };
            let owner = Attachment { container_id: container.into(), ifname: interface.into() };
            found.extend(read(&directory.join(&name))?.map(|record| (owner, record)));
        }
        Ok(found)
    }

    /// The attachments of a network that have a record, for GC; with them goes what writers that were killed left beside.
    pub(crate) fn owners<T: OwnedRecord>(&self, network: &str) -> Result<Vec<Attachment>, RecordError> {
        let directory = self.directory.join(T::DIRECTORY);
        loam_state_file::sweep(&directory).map_err(|cause| RecordError::Remove(directory, cause))?;
        let all = self.all::<T>()?.into_iter();
        Ok(all.filter(|(_, record)| record.network() == network).map(|(owner, _)| owner).collect())
    }
}

/// The names of the records in a directory; none when there is no directory.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, RecordError> {
    loam_state_file::names(directory).map_err(|cause| RecordError::Read(directory.to_owned(), cause))
}

/// Whether a directory has no records.
pub(crate) fn is_empty(directory: &Path) -> Result<bool, RecordError> {
    loam_state_file::is_empty(directory).map_err(|cause| RecordError::Read(directory.to_owned(), cause))
}

/// Reads a record. One that is gone, or that a crash of the machine left empty, is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    loam_state_file::read_json(path).map_err(|cause| RecordError::Read(path.to_owned(), cause))
}

/// Writes a record in place of the one before.
pub(crate) fn replace<T: Serialize>(path: &Path, record: &T) -> Result<(), RecordError> {
    loam_state_file::replace_json(path, record).map_err(|cause| RecordError::Write(path.to_owned(), cause))
}

/// Removes a record; success when there is none.
pub(crate) fn remove(path: &Path) -> Result<(), RecordError> {
    loam_state_file::remove(path).map_err(|cause| RecordError::Remove(path.to_owned(), cause))
}
