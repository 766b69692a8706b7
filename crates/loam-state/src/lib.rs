//! The state database: `loam.db`, one SQLite file that every Loam process of a state directory shares.
//!
//! ```text
//! loam.db       WAL mode; each component (images, containers, …) owns the tables that its migrations make
//! loam.db-wal   SQLite's; loam.db-shm likewise
//! ```
//!
//! Any number of processes read and write at once: a reader never waits, a writer waits for the writer before it (up
//! to [`BUSY_TIMEOUT`]). Every write is one IMMEDIATE transaction, so that a process killed at any moment leaves the
//! state before or after it. [`Durability`] says whether a commit also survives a power cut. Version numbers of each
//! component's schema stand in the table `component`.
//!
//! What comes in: SQL of the components. What goes out: [`Failure`]s that name the database.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loam_model::{ErrorKind, Failure, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

/// How long a writer waits for another process's transaction. Transactions take microseconds; only a machine that
/// hardly runs at all gets near this.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Pages of the write-ahead log (4 KiB each) at which it is written back. The first process after a while reads the
/// log once, so it is kept short: about fifty containers' lives.
const LOG_PAGES: u32 = 500;

/// Whether a commit survives a power cut. A process's death, by whatever signal, never loses a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the disk before it counts: what was acknowledged to a person.
    Synced,
    /// Not synced: what no one could miss after a power cut, because it describes processes that the power cut ended.
    /// The database stays whole either way.
    Unsynced,
}

/// A component's schema: its name, and the SQL of each version, the oldest first. Versions are only ever appended.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The component that owns the tables.
    pub component: &'static str,
    /// One batch of SQL statements a version.
    pub versions: &'static [&'static str],
}

impl Schema {
    fn newest(&self) -> u32 {
        u32::try_from(self.versions.len()).expect("a schema has a handful of versions")
    }
}

/// The open database. One is opened in each process and shared.
pub struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the database, makes it when it is missing, and brings these components' schemas up to date.
    pub fn open(path: &Path, schemas: &[Schema]) -> Result<Arc<Self>> {
        let failed = |error: rusqlite::Error| failure(path, "can't be opened", error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // SQLite makes files that everybody may read, and its log with the mode of the database; this one is ours alone.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unmade(path, error)),
            _ => {}
        }
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(failed)?;
        // A process that leaves as the last one would write the log back and sync twice, for nobody's good: every
        // short command would pay for it. The log is written back when it has grown instead.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(failed)?;
        let database = Self { path: path.to_owned(), connection: Mutex::new(connection) };
        database.migrate(schemas)?;
        Ok(Arc::new(database))
    }

    /// Reads. Everything read in one call is of one moment only when `body` uses one statement or its own transaction.
    pub fn read<T>(&self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        body(&self.lock()).map_err(|error| failure(&self.path, "can't be read", error))
    }

    /// Writes in one transaction, committed when `body` succeeds.
    pub fn write<T>(
        &self,
        durability: Durability,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let failed = |error| failure(&self.path, "can't be written", error);
        let mut connection = self.lock();
        let unsynced = durability == Durability::Unsynced;
        if unsynced {
            connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed)?;
        }
        let result = run_transaction(&mut connection, body);
        if unsynced {
            connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
        }
        result.map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in `body` dropped its transaction, which rolled it back: the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn migrate(&self, schemas: &[Schema]) -> Result<()> {
        let current = self.read(|connection| {
            let exists =
                connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'component'")?.exists([])?;
            if !exists {
                return Ok(false);
            }
            let mut version = connection.prepare("SELECT version FROM component WHERE name = ?1")?;
            for schema in schemas {
                let found: Option<u32> =
                    version.query_map([schema.component], |row| row.get(0))?.next().transpose()?;
                if found != Some(schema.newest()) {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if current {
            return Ok(());
        }
        let newer = self.write(Durability::Synced, |transaction| {
            transaction.execute_batch(
                "CREATE TABLE IF NOT EXISTS component (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT",
            )?;
            for schema in schemas {
                if let Some(version) = migrate_component(transaction, schema)? {
                    return Ok(Some((schema.component, version)));
                }
            }
            Ok(None)
        })?;
        match newer {
            None => Ok(()),
            Some((component, version)) => Err(Failure::new(
                ErrorKind::Unsupported,
                format!(
                    "`{}` was written by a newer Loam ({component} version {version})",
                    self.path.display()
                ),
            )),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

fn run_transaction<T>(
    connection: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = body(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Brings one component up to date; gives the version found when it is newer than this program knows.
fn migrate_component(transaction: &Transaction<'_>, schema: &Schema) -> rusqlite::Result<Option<u32>> {
    let found: u32 = transaction
        .prepare("SELECT version FROM component WHERE name = ?1")?
        .query_map([schema.component], |row| row.get(0))?
        .next()
        .transpose()?
        .unwrap_or(0);
    if found > schema.newest() {
        return Ok(Some(found));
    }
    for sql in schema.versions.iter().skip(found as usize) {
        transaction.execute_batch(sql)?;
    }
    transaction.execute(
        "INSERT INTO component (name, version) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET version = ?2",
        params![schema.component, schema.newest()],
    )?;
    Ok(None)
}

fn unmade(path: &Path, error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    };
    Failure::new(kind, format!("the state database `{}` can't be made", path.display())).caused_by(error)
}

fn failure(path: &Path, what: &str, error: rusqlite::Error) -> Failure {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            let message = format!("no space is left for the state database `{}`", path.display());
            return Failure::new(ErrorKind::Exhausted, message);
        }
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::PermissionDenied) => ErrorKind::Denied,
        _ => ErrorKind::Internal,
    };
    Failure::new(kind, format!("the state database `{}` {what}", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Schema = Schema { component: "fruit", versions: &["CREATE TABLE fruit (name TEXT) STRICT"] };
    const SECOND: Schema = Schema {
        component: "fruit",
        versions: &["CREATE TABLE fruit (name TEXT) STRICT", "ALTER TABLE fruit ADD COLUMN colour TEXT"],
    };

    fn database(directory: &Path, schema: Schema) -> Result<Arc<Database>> {
        Database::open(&directory.join("loam.db"), &[schema])
    }

    #[test]
    fn a_schema_grows_and_does_not_shrink() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        database(directory.path(), FIRST).expect("first version");
        let grown = database(directory.path(), SECOND).expect("second version");
        grown
            .write(Durability::Unsynced, |t| t.execute("INSERT INTO fruit VALUES ('plum', 'blue')", []))
            .expect("the new column exists");
        let error = database(directory.path(), FIRST).expect_err("an older program");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_failed_transaction_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = database(directory.path(), FIRST).expect("opens");
        let result: Result<()> = database.write(Durability::Synced, |transaction| {
            transaction.execute("INSERT INTO fruit VALUES ('plum')", [])?;
            Err(rusqlite::Error::QueryReturnedNoRows)
        });
        assert!(result.is_err());
        let count: u32 = database
            .read(|c| c.query_row("SELECT count(*) FROM fruit", [], |row| row.get(0)))
            .expect("counts");
        assert_eq!(count, 0);
    }
}
