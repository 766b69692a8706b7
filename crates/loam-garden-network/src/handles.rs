//! What is kept of each container that is up; see the crate's page.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use loam_garden_wire::NetOutRule;
use loam_model::ContainerId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::NetworkerError;

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
    path: PathBuf,
    file: File,
}

/// The container's name in the seam.
pub(crate) fn container_id(handle: &str) -> ContainerId {
    ContainerId::from_random(Sha256::digest(handle.as_bytes()).into())
}

fn state(path: &Path) -> impl Fn(io::Error) -> NetworkerError + use<> {
    let path = path.to_owned();
    move |error| NetworkerError::State(path.clone(), error)
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map_err(Into::into),
        }
    }
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
        let failed = state(&path);
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(create).mode(0o600).open(&path);
            let file = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let parent = path.parent().unwrap_or(&path);
                    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(&failed)?;
                    continue;
                }
                file => file.map_err(&failed)?,
            };
            lock(&file).map_err(&failed)?;
            // Whoever had the lock before may have removed the file.
            if file.metadata().map_err(&failed)?.nlink() > 0 {
                return Ok(Some(HandleFile { path, file }));
            }
        }
    }
}

impl HandleFile {
    /// Reads the record; `None` when none was ever written whole, so that nothing has happened yet.
    pub(crate) fn read(&mut self) -> Result<Option<HandleRecord>, NetworkerError> {
        let failed = state(&self.path);
        let mut bytes = Vec::new();
        self.file.rewind().map_err(&failed)?;
        self.file.read_to_end(&mut bytes).map_err(&failed)?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Writes the record.
    pub(crate) fn write(&mut self, record: &HandleRecord) -> Result<(), NetworkerError> {
        let failed = state(&self.path);
        let bytes = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        let beside = self.beside();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).map_err(&failed)?;
        // The lock goes on with the name.
        lock(&file).and_then(|()| file.write_all(&bytes)).map_err(&failed)?;
        fs::rename(&beside, &self.path).map_err(&failed)?;
        self.file = file;
        Ok(())
    }

    /// Where the record is written before it has its name: beside the directory of handles, which have any name.
    fn beside(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default();
        let above = self.path.parent().and_then(Path::parent).unwrap_or(&self.path);
        let mut beside = OsString::from("writing-");
        let digest = Sha256::digest(name.as_encoded_bytes());
        beside.push(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        above.join(beside)
    }

    /// Removes the file: nothing of the container is left.
    pub(crate) fn remove(self) -> Result<(), NetworkerError> {
        let beside = self.beside();
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(state(&beside)(error)),
            _ => {}
        }
        fs::remove_file(&self.path).map_err(state(&self.path))
    }
}
