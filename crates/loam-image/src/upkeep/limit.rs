//! What one snapshot takes, and another limit for it.

use loam_model::{ContainerId, DiskLimit, ErrorKind, Failure, QuotaMechanism, Result, SnapshotUsage};
use loam_state::Durability;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::snapshot::{self, Counted, enforced, layers_exceed};
use crate::staging::report;
use crate::{LayerStore, catalog, quota};

impl LayerStore {
    /// What a snapshot takes. What nothing counts is walked.
    pub(super) fn measure_snapshot(&self, container: &ContainerId) -> Result<SnapshotUsage> {
        let layer_bytes = self.database.read(|connection| {
            let image: Option<String> = connection
                .prepare_cached("SELECT image FROM snapshot WHERE container = ?1")?
                .query_row([container.as_str()], |row| row.get(0))
                .optional()?;
            image.map(|image| catalog::layer_bytes(connection, &image)).transpose()
        })?;
        let Some(layer_bytes) = layer_bytes else {
            let what = format!("container `{container}` has no snapshot");
            return Err(Failure::new(ErrorKind::NotFound, what));
        };
        Ok(match self.counted_usage(container)? {
            Some(usage) => SnapshotUsage { layer_bytes, limit: usage.limit, written: usage.used },
            None => {
                let written = self.written(container, None)?.bytes;
                SnapshotUsage { layer_bytes, limit: None, written: Some(written) }
            }
        })
    }

    /// Writes the new limit down and sets it, both or neither: the row waits for the file system. A mark comes before both and
    /// goes with the row's change. So a mark that is there when nobody writes is of a process that died between the two, and
    /// whoever finds it sets the file system back to what the row says.
    pub(crate) fn limit_anew(&self, container: &ContainerId, limit: &DiskLimit) -> Result<()> {
        loop {
            self.undo_limit_changes();
            self.database.write(Durability::Synced, |transaction| {
                Ok(match self.new_limit(transaction, container, limit)? {
                    Ok(_) => Ok(mark(transaction, container)?),
                    Err(refused) => Err(refused),
                })
            })??;
            let changed = self.database.write(Durability::Synced, |transaction| {
                // Somebody took this process for a dead one.
                if !is_marked(transaction, container)? {
                    return Ok(None);
                }
                let changed = match self.new_limit(transaction, container, limit)? {
                    Ok(counted) => self.enforce(container, &counted).map(|()| counted),
                    Err(refused) => Err(refused),
                };
                if let Ok(counted) = &changed {
                    write_down(transaction, container, counted, limit)?;
                }
                unmark(transaction, container)?;
                Ok(Some(changed.map(drop)))
            });
            match changed {
                Ok(Some(changed)) => return changed,
                Ok(None) => {}
                Err(failure) => {
                    self.undo_limit_changes();
                    return Err(failure);
                }
            }
        }
    }

    /// Sets the file system back to what the rows say, wherever a process died that was changing a limit. Failures are left for
    /// the next time.
    pub(crate) fn undo_limit_changes(&self) {
        let Ok(marked) = self.database.read(marked) else { return };
        for container in marked {
            report(container.as_str(), self.undo_limit_change(&container));
        }
    }

    /// The same for one container, which hardly ever has anything to undo.
    pub(crate) fn undo_any_limit_change(&self, container: &ContainerId) {
        if self.database.read(|connection| is_marked(connection, container)).unwrap_or(false) {
            report(container.as_str(), self.undo_limit_change(container));
        }
    }

    fn undo_limit_change(&self, container: &ContainerId) -> Result<()> {
        self.database.write(Durability::Synced, |transaction| {
            if !is_marked(transaction, container)? {
                return Ok(Ok(()));
            }
            if let Some((_, Some(counted))) = snapshot::counted_image(transaction, container)?
                && let Err(failure) = self.enforce(container, &counted)
            {
                return Ok(Err(failure));
            }
            unmark(transaction, container).map(Ok)
        })?
    }

    /// What counts a snapshot, with the limit that it is to have.
    fn new_limit(
        &self,
        connection: &Connection,
        container: &ContainerId,
        limit: &DiskLimit,
    ) -> rusqlite::Result<Result<Counted>> {
        let Some((image, counted)) = snapshot::counted_image(connection, container)? else {
            let what = format!("container `{container}` has no snapshot");
            return Ok(Err(Failure::new(ErrorKind::NotFound, what)));
        };
        let Some(counted) = counted else { return Ok(Err(not_counted(container))) };
        if counted.mechanism == QuotaMechanism::Project && limit.can_change_projects {
            return Ok(Err(not_held(container)));
        }
        Ok(match enforced(connection, &image, limit, counted.mechanism)? {
            Ok(bytes) => Ok(counted.with_limit(bytes)),
            Err(layers) => Err(layers_exceed(layers, limit.bytes)),
        })
    }

    /// Tells the file system.
    fn enforce(&self, container: &ContainerId, counted: &Counted) -> Result<()> {
        let place = counted.place(&self.snapshot_path(container));
        quota::quota(counted.mechanism, &self.places).change(&place)
    }
}

fn write_down(
    transaction: &Transaction<'_>,
    container: &ContainerId,
    counted: &Counted,
    limit: &DiskLimit,
) -> rusqlite::Result<()> {
    let bytes = counted.limit.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let query = "UPDATE snapshot SET quota = ?2, quota_counts_layers = ?3 WHERE container = ?1";
    transaction.execute(query, params![container.as_str(), bytes, limit.is_inclusive()]).map(drop)
}

fn mark(transaction: &Transaction<'_>, container: &ContainerId) -> rusqlite::Result<()> {
    let query = "INSERT OR IGNORE INTO changing_limit (container) VALUES (?1)";
    transaction.execute(query, [container.as_str()]).map(drop)
}

fn unmark(transaction: &Transaction<'_>, container: &ContainerId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM changing_limit WHERE container = ?1", [container.as_str()]).map(drop)
}

fn is_marked(connection: &Connection, container: &ContainerId) -> rusqlite::Result<bool> {
    connection.prepare("SELECT 1 FROM changing_limit WHERE container = ?1")?.exists([container.as_str()])
}

fn marked(connection: &Connection) -> rusqlite::Result<Vec<ContainerId>> {
    let mut statement = connection.prepare_cached("SELECT container FROM changing_limit")?;
    statement.query_map([], |row| catalog::parsed(row, 0))?.collect()
}

fn not_counted(container: &ContainerId) -> Failure {
    let what =
        format!("the snapshot of container `{container}` can't be given a disk limit: nothing counts it");
    Failure::new(ErrorKind::Unsupported, what)
        .hint("make a container with a limit, or keep the state directory on a file system with quotas")
}

fn not_held(container: &ContainerId) -> Failure {
    let what = format!("a disk limit would not hold container `{container}`, which can change project ids");
    Failure::new(ErrorKind::Unsupported, what).hint("make a container with a limit: it gets a disk file")
}
