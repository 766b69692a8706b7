//! What the two processes say to each other.

use loam_model::{Digest, DigestAlgorithm, ErrorKind, Failure};
use loam_packet::WireFailure;
use serde::{Deserialize, Serialize};

use crate::decompress::Compression;
use crate::space::Space;
use crate::stream::UnpackedLayer;
use crate::unpack::{DanglingLink, Spent, Unpacked};

/// Both programs come from one release.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the helper is to do, in words and descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The version of the program that asks.
    version: String,
    pub(super) compression: Compression,
    /// The beginning of messages.
    pub(super) what: String,
    pub(super) work: Work,
}

impl Job {
    pub(super) fn new(compression: Compression, what: &str, work: Work) -> Self {
        Self { version: VERSION.to_owned(), compression, what: what.to_owned(), work }
    }

    /// Whether both programs come from one release.
    pub(super) fn check_version(&self) -> Result<(), Failure> {
        if self.version == VERSION {
            return Ok(());
        }
        let message = format!("the unpacker is of version {VERSION}, and {} is wanted", self.version);
        Err(Failure::new(ErrorKind::Unavailable, message)
            .hint("install `loam-unpack` and `loam` of one release"))
    }
}

/// What is to be done. The second descriptor is always the directory that becomes the helper's root.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Work {
    /// Unpack a layer. Beside it come the blob's pipe, the layer's directory, and the file for its record.
    Layer {
        /// The algorithm of the diff id.
        algorithm: DigestAlgorithm,
        own_thread: bool,
        /// What is free before anything is made.
        space: Space,
    },
    /// Find the members of an archive of images. Beside it come the archive, an empty directory, and the file into which one
    /// that is compressed is decompressed.
    Archive {
        /// The most bytes that it may decompress to.
        most: u64,
    },
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// It has used so much since it last asked, and needs to know what is free.
    Space(Spent),
    /// The directory that comes along hides what lower layers have in it.
    Opaque,
    /// It is done.
    Done(Box<Report>),
    /// These are the members of the archive: name, offset and size.
    Members(Vec<(String, u64, u64)>),
    /// It can't do it.
    Failed(WireFailure),
}

/// What the helper is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What is free.
    Space(Space),
    /// The directory is marked.
    Marked,
}

/// What came of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    size: u64,
    entries: u64,
    implicit: Vec<Bytes>,
    /// Path and target of each.
    dangling: Vec<(Bytes, Bytes)>,
    lossy: bool,
    diff_id: Digest,
    length: u64,
    is_recorded: bool,
    /// What was used since space was last asked for.
    spent: Spent,
}

impl Report {
    pub(super) fn new(done: UnpackedLayer, spent: Spent) -> Self {
        let UnpackedLayer { unpacked, is_recorded, diff_id, length } = done;
        let dangling = unpacked.dangling.into_iter().map(|link| (Bytes(link.path), Bytes(link.target)));
        Self {
            size: unpacked.size,
            entries: unpacked.entries,
            implicit: unpacked.implicit.into_iter().map(Bytes).collect(),
            dangling: dangling.collect(),
            lossy: unpacked.lossy,
            diff_id,
            length,
            is_recorded,
            spent,
        }
    }

    pub(super) fn spent(&self) -> Spent {
        self.spent
    }

    /// Whether it can be true of a helper that has used so much: every byte of a file was read, every entry has a header.
    pub(super) fn is_within(&self, used: Spent) -> bool {
        self.size <= used.read
            && self.entries <= used.read
            && self.length <= used.read.saturating_add(1 << 20)
    }
}

impl From<Report> for UnpackedLayer {
    fn from(report: Report) -> Self {
        let bytes = |all: Vec<Bytes>| all.into_iter().map(|bytes| bytes.0).collect();
        let link = |(path, target): (Bytes, Bytes)| DanglingLink { path: path.0, target: target.0 };
        let unpacked = Unpacked {
            size: report.size,
            entries: report.entries,
            implicit: bytes(report.implicit),
            dangling: report.dangling.into_iter().map(link).collect(),
            lossy: report.lossy,
        };
        Self { unpacked, is_recorded: report.is_recorded, diff_id: report.diff_id, length: report.length }
    }
}

/// Bytes of a path in JSON: a character for each, so that what most paths are stays short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Bytes(Vec<u8>);

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.0.into_iter().map(char::from).collect()
    }
}

impl TryFrom<String> for Bytes {
    type Error = std::char::TryFromCharError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.chars().map(u8::try_from).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_the_way() {
        let all = Bytes((0..=255).collect());
        let text = serde_json::to_string(&all).expect("text");
        assert_eq!(serde_json::from_str::<Bytes>(&text).expect("bytes"), all);
        assert_eq!(serde_json::to_string(&Bytes(b"usr/lib".to_vec())).expect("text"), "\"usr/lib\"");
        assert!(serde_json::from_str::<Bytes>("\"\u{20ac}\"").is_err(), "no byte");
    }
}
