//! The open database: reading it, and writing it in transactions.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use loam_model::Result;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::Schema;
use crate::failure::{failure, unmade};
use crate::schema::migrate;
use crate::space::Space;

/// How long a writer waits for another process's transaction. Transactions take microseconds; only a machine that
/// hardly runs at all gets near this.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the next attempt waits where SQLite refuses at once instead of waiting itself.
const RETRY: Duration = Duration::from_millis(2);

/// Bytes of a page of a new database. Rows are short, a change writes whole pages into the log, and a process that opens
/// the database while no other one has it open reads and sums the whole log: a quarter of SQLite's usual 4 KiB.
const PAGE_SIZE: u32 = 1024;

/// Pages of the write-ahead log at which it is written back: about twenty containers' lives. Writing it back syncs twice,
/// so it is not kept shorter.
const LOG_PAGES: u32 = 200;

/// Whether a commit survives a power cut. A process's death, by whatever signal, never loses a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the disk before it counts: what was acknowledged to a person.
    Synced,
    /// Not synced: what no one could miss after a power cut, because it describes processes that the power cut ended.
    /// The database stays whole either way.
    Unsynced,
}

/// The open database. One is opened in each process and shared.
pub struct Database {
    path: PathBuf,
    space: Space,
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the database, makes it when it is missing, and brings these components' schemas up to date. On a full disk
    /// the reserve is used; when that is gone, too, it fails with [`ErrorKind::Exhausted`](loam_model::ErrorKind::Exhausted).
    pub fn open(path: &Path, schemas: &[Schema]) -> Result<Arc<Self>> {
        let failed = |error: rusqlite::Error| failure(path, "can't be opened", error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let space = Space::look(path)?;
        // SQLite makes files that everybody may read, and its log with the mode of the database; this one is ours alone.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unmade(path, error)),
            _ => {}
        }
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(failed)?;
        use_log(&connection).map_err(failed)?;
        connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;").map_err(failed)?;
        // A process that leaves as the last one would write the log back and sync twice, for nobody's good: every
        // short command would pay for it. The log is written back when it has grown instead.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(failed)?;
        let database = Self { path: path.to_owned(), space, connection: Mutex::new(connection) };
        migrate(&database, schemas)?;
        Ok(Arc::new(database))
    }

    /// Reads. Everything read in one call is of one moment only when `body` uses one statement or its own transaction.
    pub fn read<T>(&self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.space.look_again()?;
        body(&self.lock()).map_err(|error| failure(&self.path, "can't be read", error))
    }

    /// Writes in one transaction, committed when `body` succeeds. When the disk turns out to be full the transaction is undone
    /// and `body` called again, with a part of the reserve given up; when there is none left, after a moment, for a second in all.
    pub fn write<T>(
        &self,
        durability: Durability,
        mut body: impl FnMut(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let failed = |error| failure(&self.path, "can't be written", error);
        self.space.look_again()?;
        let mut connection = self.lock();
        let is_synced = durability == Durability::Synced;
        if is_synced {
            connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
        }
        let result = loop {
            match run_transaction(&mut connection, &mut body) {
                Err(error) if self.space.yield_for(&error) => {}
                result => break result,
            }
        };
        if is_synced {
            connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed)?;
        }
        if result.is_ok() {
            self.space.has_sufficed();
        }
        result.map_err(failed)
    }

    /// Refuses what would make something on a full disk: what is left of the reserve is for what ends things. It costs nothing.
    pub fn require_space(&self) -> Result<()> {
        self.space.require()
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in `body` dropped its transaction, which rolled it back: the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Turns the write-ahead log on. Of several processes that do so first for a new file, SQLite lets one through and tells
/// the others at once that it is locked, without the wait that every other statement gets.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    let limit = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.execute_batch("PRAGMA journal_mode = WAL") {
            Err(error) if is_busy(&error) && Instant::now() < limit => std::thread::sleep(RETRY),
            other => return other,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

fn run_transaction<T>(
    connection: &mut Connection,
    body: &mut impl FnMut(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = body(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRUIT: Schema = Schema { component: "fruit", versions: &["CREATE TABLE fruit (name TEXT) STRICT"] };

    /// `.cargo/config.toml` says so to whoever builds here.
    #[test]
    fn sqlite_is_built_without_what_nothing_uses() {
        let connection = Connection::open_in_memory().expect("opens");
        let mut statement = connection.prepare("PRAGMA compile_options").expect("valid");
        let options = statement.query_map([], |row| row.get::<_, String>(0)).expect("answers");
        let options: Vec<String> = options.collect::<rusqlite::Result<_>>().expect("text");
        let has = |option: &str| options.iter().any(|known| known == option);
        assert!(has("OMIT_LOAD_EXTENSION") && has("DEFAULT_MEMSTATUS=0"), "{options:?}");
        assert!(!has("ENABLE_FTS5") && !has("ENABLE_RTREE") && !has("ENABLE_STAT4"), "{options:?}");
    }

    #[test]
    fn a_new_database_that_another_process_sets_up_is_waited_for() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("loam.db");
        let other = Connection::open(&path).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE setting_up (x)").expect("holds the lock");
        let (sender, opened) = std::sync::mpsc::channel();
        let opener = std::thread::spawn({
            let path = path.clone();
            move || sender.send(Database::open(&path, &[FRUIT]).map(drop))
        });
        let early = opened.recv_timeout(Duration::from_millis(100));
        assert!(early.is_err(), "it did not wait: {early:?}");
        other.execute_batch("COMMIT").expect("lets go");
        opened.recv().expect("an answer").expect("opens");
        opener.join().expect("ends").expect("was received");
    }

    #[test]
    fn many_open_a_new_database_at_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("loam.db");
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for name in ["plum", "pear", "fig", "lime", "kiwi", "date", "sloe", "pome"] {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    Database::open(path, &[FRUIT])
                        .and_then(|d| {
                            d.write(Durability::Unsynced, |t| {
                                t.execute("INSERT INTO fruit VALUES (?1)", [name])
                            })
                        })
                        .expect("opens and writes");
                });
            }
        });
        let database = Database::open(&path, &[FRUIT]).expect("opens");
        let count: Result<u32> =
            database.read(|c| c.query_row("SELECT count(*) FROM fruit", [], |row| row.get(0)));
        assert_eq!(count.expect("counts"), 8);
    }

    #[test]
    fn a_failed_transaction_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = Database::open(&directory.path().join("loam.db"), &[FRUIT]).expect("opens");
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

    #[test]
    fn a_transaction_that_finds_the_disk_full_is_run_again_as_long_as_there_is_a_reserve_or_patience() {
        use crate::patience::WAITS;
        use crate::reserve::{PORTION, SIZE};
        use rusqlite::ffi;

        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("loam.db");
        let database = Database::open(&path, &[FRUIT]).expect("opens");
        database.require_space().expect("there is space");
        let full = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        let mut attempts = 0;
        let second = database.write(Durability::Unsynced, |t| {
            attempts += 1;
            t.execute("INSERT INTO fruit VALUES ('plum')", [])?;
            if attempts == 1 { Err(full()) } else { Ok(attempts) }
        });
        assert_eq!(second.expect("there is a reserve"), 2);
        let names: Result<u32> =
            database.read(|c| c.query_row("SELECT count(*) FROM fruit", [], |row| row.get(0)));
        assert_eq!(names.expect("counts"), 1);
        assert!(database.require_space().is_err(), "what is left is not for this");
        let result: Result<()> = database.write(Durability::Synced, |_| {
            attempts += 1;
            Err(full())
        });
        assert_eq!(result.expect_err("it stays full").kind(), loam_model::ErrorKind::Exhausted);
        assert_eq!(attempts, 2 + SIZE / PORTION + u64::from(WAITS));
        Database::open(&path, &[FRUIT]).and_then(|again| again.require_space()).expect("it is whole again");
    }
}
