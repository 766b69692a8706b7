//! Leases on disk, one small JSON file each, so that a keeper can go on where another one was killed.
//!
//! ```text
//! SOCKET.leases/DIGEST.json   {"version":1,"boot":…,"attachment":…,"place":…,"options":…,"acknowledgement":…,"since":…}
//! ```
//!
//! `DIGEST` is of the attachment. A lease is read from the server's own message again, and counts from the machine's start:
//! files of an earlier start are removed. Files are written by [`loam_state_file`]. A file that is not understood is left
//! where it is, and told of.

use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::step;
use crate::client::Held;
use crate::message::Message;
use crate::place;
use crate::terms::Terms;
use crate::wire::Attachment;

const VERSION: u32 = 1;
/// The longest file that is read.
const MAX_RECORD: u64 = 256 << 10;

/// The directory that belongs to a socket.
pub(crate) fn directory(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".leases");
    name.into()
}

/// Makes a directory of leases when it is missing.
pub(super) fn make(directory: &Path) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|cause| step("making", directory, cause))
}

/// A lease as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Which start of the machine the moment belongs to; filled in when it is written.
    boot: String,
    pub(super) attachment: Attachment,
    pub(super) place: place::Identity,
    pub(super) options: Vec<(u8, Vec<u8>)>,
    acknowledgement: Vec<u8>,
    /// In milliseconds.
    since: u64,
    server: [u8; 6],
    /// Whether it is over, and kept only to be told of.
    pub(super) expired: bool,
}

impl Record {
    pub(super) fn new(
        attachment: Attachment,
        place: place::Identity,
        options: Vec<(u8, Vec<u8>)>,
        held: &Held,
    ) -> Self {
        Self {
            version: VERSION,
            boot: String::new(),
            attachment,
            place,
            options,
            acknowledgement: held.acknowledgement.encode(),
            since: u64::try_from(held.since.as_millis()).unwrap_or(u64::MAX),
            server: held.server,
            expired: false,
        }
    }

    /// Reads what another keeper hands over, in the form that lies on disk.
    pub(super) fn from_value(value: serde_json::Value) -> Result<Self, String> {
        let record: Self = serde_json::from_value(value).map_err(|cause| cause.to_string())?;
        if record.version != VERSION {
            return Err(format!("it is of version {}, which is not known", record.version));
        }
        Ok(record)
    }

    /// The lease.
    pub(super) fn held(&self) -> Result<Held, String> {
        let acknowledgement = Message::parse(&self.acknowledgement).map_err(|error| error.to_string())?;
        let terms = Terms::read(&acknowledgement).map_err(|error| error.to_string())?;
        Ok(Held { acknowledgement, terms, since: Duration::from_millis(self.since), server: self.server })
    }
}

/// What tells this start of the machine from all others.
fn boot() -> Result<String, String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = fs::read_to_string(path).map_err(|cause| step("reading", path, cause))?;
    Ok(id.trim().to_owned())
}

/// The directory of a keeper's files.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    boot: String,
    /// Whether the directory has become another keeper's. Nothing is written there then.
    is_lost: bool,
}

impl Records {
    /// Makes the directory when it is missing.
    pub(super) fn open(directory: PathBuf) -> Result<Self, String> {
        make(&directory)?;
        Ok(Self { directory, boot: boot()?, is_lost: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Leaves the directory to another keeper: nothing in it is touched.
    pub(super) fn relinquish(&mut self) {
        self.is_lost = true;
    }

    /// Has it back.
    pub(super) fn reclaim(&mut self) {
        self.is_lost = false;
    }

    fn file(&self, attachment: &Attachment) -> PathBuf {
        let name = format!("{}/{}/{}", attachment.network, attachment.container, attachment.interface);
        let digest = Sha256::digest(name.as_bytes());
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{digits}.json"))
    }

    /// A lease as it lies on disk.
    pub(super) fn to_value(&self, record: &Record) -> Result<serde_json::Value, String> {
        let record = Record { boot: self.boot.clone(), ..record.clone() };
        serde_json::to_value(record).map_err(|cause| cause.to_string())
    }

    /// Writes a lease, in place of what was there.
    pub(super) fn write(&self, record: &Record) -> Result<(), String> {
        if self.is_lost {
            return Ok(());
        }
        let path = self.file(&record.attachment);
        let record = Record { boot: self.boot.clone(), ..record.clone() };
        loam_state_file::replace_json(&path, &record).map_err(|cause| step("writing", &path, cause))
    }

    /// Notes that a lease is over.
    pub(super) fn expire(&self, attachment: &Attachment) -> Result<(), String> {
        if self.is_lost {
            return Ok(());
        }
        let record = read(&self.file(attachment))?;
        self.write(&Record { expired: true, ..record })
    }

    /// Removes a lease, which may not be there.
    pub(super) fn remove(&self, attachment: &Attachment) -> Result<(), String> {
        if self.is_lost {
            return Ok(());
        }
        let path = self.file(attachment);
        loam_state_file::remove(&path).map_err(|cause| step("removing", &path, cause))
    }

    /// Reads all leases; those that can't be read are told of.
    pub(super) fn read(&self, mut tell: impl FnMut(&str)) -> Result<Vec<Record>, String> {
        let names =
            loam_state_file::sweep(&self.directory).and_then(|()| loam_state_file::names(&self.directory));
        let names = names.map_err(|cause| step("reading", &self.directory, cause))?;
        let mut records = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(".json")) {
            match read(&self.directory.join(name)) {
                Ok(record) if record.boot == self.boot => records.push(record),
                Ok(record) => self.remove(&record.attachment)?,
                Err(told) => tell(&told),
            }
        }
        Ok(records)
    }
}

fn read(path: &Path) -> Result<Record, String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|cause| step("reading", path, cause))?;
    file.take(MAX_RECORD).read_to_end(&mut text).map_err(|cause| step("reading", path, cause))?;
    let record: Record = serde_json::from_slice(&text).map_err(|cause| step("reading", path, cause))?;
    if record.version != VERSION {
        return Err(format!("`{}` is of version {}, which is not known", path.display(), record.version));
    }
    Ok(record)
}
