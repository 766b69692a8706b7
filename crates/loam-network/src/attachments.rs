//! The attachments' files: intent and lock of each container; see the crate's page.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use loam_model::ContainerId;
use loam_state_file::LockedFile;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Why an attachment's file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachmentsError {
    #[error("opening attachment `{0}` failed")]
    Open(PathBuf, #[source] io::Error),
    #[error("reading attachment `{0}` failed")]
    Read(PathBuf, #[source] io::Error),
    #[error("writing attachment `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
    #[error("removing attachment `{0}` failed")]
    Remove(PathBuf, #[source] io::Error),
    #[error("listing attachments in `{0}` failed")]
    List(PathBuf, #[source] io::Error),
}

/// One interface that is to be, with all that its removal needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) network: String,
    pub(crate) interface: String,
    /// The text of the configuration list.
    pub(crate) config: String,
    /// The capability arguments.
    #[serde(default)]
    pub(crate) capability_args: Map<String, Value>,
    /// `CNI_ARGS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) arguments: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Attachments {
    directory: PathBuf,
    /// Whose they are, where several share the directory; see [`crate::NetworkConfig::owner`].
    owner: Option<&'static str>,
}

/// A container's file, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct AttachmentFile {
    file: LockedFile,
}

impl Attachments {
    pub(crate) fn new(cache_dir: &Path, owner: Option<&'static str>) -> Self {
        Self { directory: cache_dir.join("attachments"), owner }
    }

    fn path(&self, container: &ContainerId) -> PathBuf {
        match self.owner {
            Some(owner) => self.directory.join(format!("{container}@{owner}")),
            None => self.directory.join(container.as_str()),
        }
    }

    /// Opens and locks a container's file; makes it when `create`, else gives `None` when there is none.
    pub(crate) fn open(
        &self,
        container: &ContainerId,
        create: bool,
    ) -> Result<Option<AttachmentFile>, AttachmentsError> {
        let path = self.path(container);
        // No container's id ends so.
        let file = LockedFile::open(&path, path.with_extension("new"), create);
        let file = file.map_err(|cause| AttachmentsError::Open(path, cause))?;
        Ok(file.map(|file| AttachmentFile { file }))
    }

    /// All attachments, whoever's they are, as they are written, without any lock. A file that is not whole is left out:
    /// nothing has been made from it yet.
    pub(crate) fn all(&self) -> Result<Vec<(ContainerId, Vec<Intent>)>, AttachmentsError> {
        let mut found = Vec::new();
        for name in self.names()? {
            let Ok(container) = name.split('@').next().unwrap_or_default().parse::<ContainerId>() else {
                continue;
            };
            let path = self.directory.join(&name);
            let bytes = match File::open(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                file => file.and_then(|file| read_bounded(&file)),
            };
            let bytes = bytes.map_err(|cause| AttachmentsError::Read(path, cause))?;
            found.extend(serde_json::from_slice(&bytes).ok().map(|intents| (container, intents)));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Our containers that have a file.
    pub(crate) fn containers(&self) -> Result<Vec<ContainerId>, AttachmentsError> {
        let ours = |name: &String| {
            let (container, owner) =
                name.split_once('@').map_or((name.as_str(), None), |(c, o)| (c, Some(o)));
            container.parse().ok().filter(|_| owner == self.owner)
        };
        Ok(self.names()?.iter().filter_map(ours).collect())
    }

    fn names(&self) -> Result<Vec<String>, AttachmentsError> {
        let failed = |cause| AttachmentsError::List(self.directory.clone(), cause);
        let entries = match fs::read_dir(&self.directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            // One that is written beside its place is no attachment yet.
            found.extend(name.into_string().ok().filter(|name| !name.ends_with(".new")));
        }
        Ok(found)
    }
}

fn read_bounded(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl AttachmentFile {
    /// Reads the intents; `None` when the file is not whole, which is so when its writer was killed (and then there
    /// has been no effect yet) or the machine lost power.
    pub(crate) fn read(&mut self) -> Result<Option<Vec<Intent>>, AttachmentsError> {
        let read = self.file.read(MAX_BYTES);
        let bytes = read.map_err(|cause| AttachmentsError::Read(self.file.path().to_owned(), cause))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_new(&self) -> Result<bool, AttachmentsError> {
        self.file.is_empty().map_err(|cause| AttachmentsError::Read(self.file.path().to_owned(), cause))
    }

    /// Writes the intents in place of others: whoever reads has the old ones or the new ones, whenever this process
    /// ends. The lock stays held.
    pub(crate) fn replace(&mut self, intents: &[Intent]) -> Result<(), AttachmentsError> {
        let replaced = serde_json::to_vec(intents).map_err(io::Error::from);
        let replaced = replaced.and_then(|bytes| self.file.replace(&bytes));
        replaced.map_err(|cause| AttachmentsError::Write(self.file.path().to_owned(), cause))
    }

    /// Writes the intents into a file that has none.
    pub(crate) fn write(&mut self, intents: &[Intent]) -> Result<(), AttachmentsError> {
        let written = serde_json::to_vec(intents).map_err(io::Error::from);
        let written = written.and_then(|bytes| self.file.fill(&bytes));
        written.map_err(|cause| AttachmentsError::Write(self.file.path().to_owned(), cause))
    }

    /// Removes the file: nothing of the attachment is left.
    pub(crate) fn remove(self) -> Result<(), AttachmentsError> {
        let path = self.file.path().to_owned();
        self.file.remove().map_err(|cause| AttachmentsError::Remove(path, cause))
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn intents_are_kept_until_removed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let attachments = Attachments::new(directory.path(), None);
        let id = ContainerId::from_random([7; 32]);
        assert!(attachments.open(&id, false).expect("readable").is_none());
        assert!(attachments.containers().expect("readable").is_empty());
        let mut file = attachments.open(&id, true).expect("writable").expect("made");
        assert!(file.is_new().expect("readable"));
        assert_eq!(file.read().expect("readable"), None);
        let intent = Intent {
            network: "n".into(),
            interface: "eth0".into(),
            config: "{}".into(),
            capability_args: Map::new(),
            arguments: Vec::new(),
        };
        file.write(std::slice::from_ref(&intent)).expect("writable");
        drop(file);
        assert_eq!(attachments.containers().expect("readable"), std::slice::from_ref(&id));
        let mut file = attachments.open(&id, false).expect("readable").expect("there");
        assert_eq!(file.read().expect("readable"), Some(vec![intent.clone()]));
        let two = vec![intent.clone(), Intent { interface: "eth1".into(), ..intent }];
        file.replace(&two).expect("writable");
        assert_eq!(file.read().expect("readable").as_ref(), Some(&two));
        assert_eq!(attachments.all().expect("readable"), [(id.clone(), two.clone())]);
        let others = Attachments::new(directory.path(), Some("another"));
        assert!(others.containers().expect("readable").is_empty());
        let other = ContainerId::from_random([8; 32]);
        others.open(&other, true).expect("writable").expect("made").write(&two).expect("writable");
        assert_eq!(others.containers().expect("readable"), std::slice::from_ref(&other));
        assert_eq!(attachments.containers().expect("readable"), std::slice::from_ref(&id));
        assert_eq!(attachments.all().expect("readable"), [(id.clone(), two.clone()), (other, two)]);
        let other = File::open(directory.path().join("attachments").join(id.as_str())).expect("there");
        let attempt = flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(attempt, Err(rustix::io::Errno::WOULDBLOCK), "the new file is locked, too");
        file.remove().expect("removable");
        assert!(attachments.open(&id, false).expect("readable").is_none());
    }
}
