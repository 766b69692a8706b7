//! What is kept of each container that is up; see the crate's page.

use std::io;
use std::path::{Path, PathBuf};

use loam_garden_wire::NetOutRule;
use loam_model::ContainerId;
use loam_state_file::LockedFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::NetworkerError;

/// The largest file that is read: as many rules as a container can have, and more.
const MAX_BYTES: u64 = 64 << 20;

/// What is kept of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HandleRecord {
    /// Its rules.
    pub(crate) rules: Vec<NetOutRule>,
    /// Device and inode of its network namespace: the number of a process may come to be another one's.
    pub(crate) namespace: Option<(u64, u64)>,
    /// The host's id of its first process.
    pub(crate) pid: u32,
}

/// The files of all handles.
#[derive(Debug)]
pub(crate) struct Handles {
    directory: PathBuf,
}

/// One handle's file, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct HandleFile {
    file: LockedFile,
}

/// The container's name in the seam.
pub(crate) fn container_id(handle: &str) -> ContainerId {
    ContainerId::from_random(Sha256::digest(handle.as_bytes()).into())
}

fn state(path: &Path) -> impl Fn(io::Error) -> NetworkerError + use<> {
    let path = path.to_owned();
    move |error| NetworkerError::State(path.clone(), error)
}

impl Handles {
    /// The files below the seam's state directory.
    pub(crate) fn below(root: &Path) -> Self {
        Self { directory: root.join("garden-network") }
    }

    /// Opens and locks a handle's file; makes it when `create`, else gives `None` when there is none.
    pub(crate) fn open(&self, handle: &str, create: bool) -> Result<Option<HandleFile>, NetworkerError> {
        let is_name =
            !matches!(handle, "" | "." | "..") && !handle.contains(['/', '\0']) && handle.len() <= 255;
        if !is_name {
            return Err(NetworkerError::Handle(handle.escape_default().to_string()));
        }
        let path = self.directory.join("handles").join(handle);
        let file = LockedFile::open(&path, self.beside(handle), create).map_err(state(&path))?;
        Ok(file.map(|file| HandleFile { file }))
    }

    /// Where a record is written before it has its name: beside the directory of handles, which have any name.
    fn beside(&self, handle: &str) -> PathBuf {
        let digest = Sha256::digest(handle.as_bytes());
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("writing-{digits}"))
    }
}

impl HandleFile {
    /// Reads the record; `None` when none was ever written whole, so that nothing has happened yet.
    pub(crate) fn read(&mut self) -> Result<Option<HandleRecord>, NetworkerError> {
        let bytes = self.file.read(MAX_BYTES).map_err(state(self.file.path()))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Writes the record.
    pub(crate) fn write(&mut self, record: &HandleRecord) -> Result<(), NetworkerError> {
        let written = serde_json::to_vec(record).map_err(io::Error::from);
        written.and_then(|bytes| self.file.replace(&bytes)).map_err(state(self.file.path()))
    }

    /// Removes the file: nothing of the container is left.
    pub(crate) fn remove(self) -> Result<(), NetworkerError> {
        let failed = state(self.file.path());
        self.file.remove().map_err(failed)
    }
}
