//! What a snapshot holds.
//!
//! Where the file system counts it, that is one question to the kernel, however much it is. Elsewhere its files are walked. Such
//! a walk is remembered for [`REST`] times as long as it took: who asks again and again, as a collector of figures does, never
//! keeps more than a small part of a processor and of the disk busy with it, however much there is to walk.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use loam_model::{ContainerId, DiskUsage, Result};
use loam_state::Durability;
use rusqlite::{OptionalExtension, params};

use super::{Counted, no_snapshot};
use crate::error::failed;
use crate::staging::open_directory;
use crate::{LayerStore, measure, quota};

/// A walk is good for so many times as long as it took.
const REST: u32 = 20;
/// A walk that took less is not worth remembering.
const WORTH_REMEMBERING: Duration = Duration::from_millis(5);

/// What was written to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    /// Whether files had to be walked for it, now or a short while ago.
    pub(crate) is_walked: bool,
}

impl LayerStore {
    /// What a snapshot holds that something counts; `None` when nothing does.
    pub(crate) fn counted_usage(&self, container: &ContainerId) -> Result<Option<DiskUsage>> {
        let Some(counted) = self.snapshot_counted(container)? else { return Ok(None) };
        let Counted { limit, mechanism, .. } = counted;
        match self.ask(container, &counted) {
            Ok(used) => Ok(Some(DiskUsage { limit, used, mechanism })),
            // The file system was mounted with other options since. Nothing was promised.
            Err(_) if limit.is_none() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What was written to a snapshot: asked for, or walked.
    pub(crate) fn written(&self, container: &ContainerId, counted: Option<Counted>) -> Result<Written> {
        let path = self.snapshot_path(container);
        if let Some(counted) = counted {
            match self.ask(container, &counted) {
                Ok(Some(bytes)) => return Ok(Written { bytes, is_walked: false }),
                Ok(None) => {
                    let place = counted.place(&path);
                    let disk = quota::quota(counted.mechanism, &self.places).disk(&place);
                    let bytes = blocks(&disk.unwrap_or(path))?;
                    return Ok(Written { bytes, is_walked: false });
                }
                Err(_) if !path.exists() => return Err(no_snapshot(container)),
                Err(failure) if counted.limit.is_some() => return Err(failure),
                Err(failure) => {
                    tracing::debug!(%container, error = %failure.chain(), "it is walked");
                }
            }
        }
        let bytes = match self.remembered(container)? {
            Some(bytes) => bytes,
            None => self.walk(container)?,
        };
        Ok(Written { bytes, is_walked: true })
    }

    fn ask(&self, container: &ContainerId, counted: &Counted) -> Result<Option<u64>> {
        let place = counted.place(&self.snapshot_path(container));
        quota::quota(counted.mechanism, &self.places).used(&place)
    }

    /// What an earlier walk came to, as long as that is good.
    fn remembered(&self, container: &ContainerId) -> Result<Option<u64>> {
        let row: Option<(i64, i64, i64)> = self.database.read(|connection| {
            connection
                .prepare_cached("SELECT bytes, began, took FROM walked_snapshot WHERE container = ?1")?
                .query_row([container.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })?;
        Ok(row
            .filter(|(_, began, took)| is_good(*began, *took, now()))
            .map(|(bytes, ..)| bytes.unsigned_abs()))
    }

    fn walk(&self, container: &ContainerId) -> Result<u64> {
        let upper = self.snapshot_path(container).join("upper");
        let directory = match open_directory(&upper) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_snapshot(container)),
            Err(error) => return Err(failed(format!("`{}` can't be opened", upper.display()), error)),
        };
        let (began, clock) = (now(), Instant::now());
        let bytes = measure::usage(directory.as_fd()).map_err(|error| {
            failed(format!("the files below `{}` can't be counted", upper.display()), error)
        })?;
        let took = clock.elapsed();
        if took >= WORTH_REMEMBERING {
            let number = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
            let values = params![container.as_str(), number(bytes.into()), began, number(took.as_millis())];
            self.database.write(Durability::Unsynced, |transaction| {
                transaction.execute(
                    "INSERT INTO walked_snapshot (container, bytes, began, took)
                     SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM snapshot WHERE container = ?1)
                     ON CONFLICT (container) DO UPDATE SET bytes = ?2, began = ?3, took = ?4",
                    values,
                )
            })?;
        }
        Ok(bytes)
    }
}

/// Whether a walk that began then, and took so long, is good now; all in milliseconds.
fn is_good(began: i64, took: i64, now: i64) -> bool {
    // A clock that was set back makes it bad.
    let until = began.saturating_add(took.saturating_mul(i64::from(REST) + 1));
    (began..until).contains(&now)
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a file takes on the disk.
fn blocks(file: &Path) -> Result<u64> {
    fs::metadata(file)
        .map(|status| status.blocks() * 512)
        .map_err(|error| failed(format!("`{}` can't be looked at", file.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_good_for_twenty_times_as_long_as_it_took() {
        for (began, took, now, good) in [
            (1000, 50, 1000, true),
            (1000, 50, 2049, true),
            (1000, 50, 2050, false),
            (1000, 50, 999, false),
            (1000, 0, 1000, false),
            (i64::MAX, i64::MAX, 0, false),
        ] {
            assert_eq!(is_good(began, took, now), good, "{began} {took} {now}");
        }
    }
}
