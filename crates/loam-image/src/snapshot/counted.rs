//! How what is written to a snapshot is counted, and limited: what its row says of it.

use std::os::fd::AsFd;
use std::path::Path;

use loam_model::{
    DiskLimit, ErrorKind, Failure, LimitScope, QuotaMechanism, Reason, Result, SnapshotRequest,
};
use rusqlite::{Connection, Row};

use crate::error::failed;
use crate::quota::{self, CountedSnapshot};
use crate::staging::open_directory;
use crate::{LayerStore, catalog};

/// The least that is set as a limit, in bytes: directories alone take some blocks. A file system needs more.
const LEAST_LIMIT: u64 = 256 << 10;
const LEAST_DISK_FILE: u64 = 1 << 20;

/// What counts a snapshot, and its limit. A snapshot that nothing counts has none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// The limit in bytes; without one it is only counted.
    pub(crate) limit: Option<u64>,
    pub(crate) mechanism: QuotaMechanism,
    pub(super) project: Option<u32>,
}

impl Counted {
    /// The same with this limit.
    pub(crate) fn with_limit(self, bytes: u64) -> Self {
        Self { limit: Some(bytes), ..self }
    }

    /// The place that is counted.
    pub(crate) fn place(&self, path: &Path) -> CountedSnapshot {
        CountedSnapshot { path: path.to_owned(), limit: self.limit, project: self.project }
    }

    /// Reads the columns `quota, mechanism, project`. A mechanism that this program does not know is an error.
    pub(super) fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Self>> {
        let (limit, word): (Option<i64>, Option<String>) = (row.get(at)?, row.get(at + 1)?);
        let Some(word) = word else { return Ok(None) };
        let mechanism = QuotaMechanism::named(&word).ok_or(rusqlite::Error::InvalidColumnType(
            at + 1,
            word,
            rusqlite::types::Type::Text,
        ))?;
        Ok(Some(Self { limit: limit.map(i64::unsigned_abs), mechanism, project: row.get(at + 2)? }))
    }
}

impl LayerStore {
    /// What counts a new snapshot here: whatever can enforce its limit, or, without a limit, what the file system offers
    /// for nothing. A container that could get around project ids gets a file of its own when it is limited.
    pub(super) fn mechanism_for(&self, request: &SnapshotRequest<'_>) -> Result<Option<QuotaMechanism>> {
        let root = &self.places.root;
        let directory = open_directory(root)
            .map_err(|error| failed(format!("`{}` can't be opened", root.display()), error))?;
        let Some(limit) = request.limit else { return Ok(quota::counting(directory.as_fd())) };
        Ok(Some(match quota::mechanism(directory.as_fd()) {
            QuotaMechanism::Project if limit.can_change_projects => QuotaMechanism::DiskFile,
            mechanism => mechanism,
        }))
    }
}

/// The failure when the layers alone are more than an inclusive limit.
pub(crate) fn layers_exceed(bytes: u64, limit: u64) -> Failure {
    let what = format!("the disk limit of {limit} bytes is less than the {bytes} of the image's layers");
    Failure::new(ErrorKind::Exhausted, what).because(Reason::LayersExceedLimit { bytes, limit })
}

/// The bytes that a limit leaves for what is written; `Err` with the bytes of the layers when those are more already.
pub(crate) fn enforced(
    connection: &Connection,
    image: &str,
    limit: &DiskLimit,
    mechanism: QuotaMechanism,
) -> rusqlite::Result<std::result::Result<u64, u64>> {
    let layers = match limit.scope {
        LimitScope::Exclusive => 0,
        LimitScope::Inclusive => catalog::layer_bytes(connection, image)?,
    };
    let least = if mechanism == QuotaMechanism::DiskFile { LEAST_DISK_FILE } else { LEAST_LIMIT };
    Ok(limit.bytes.checked_sub(layers).map(|bytes| bytes.max(least)).ok_or(layers))
}
