//! The table `container`: its schema and every statement on it.
//!
//! A row is inserted before anything of its container is made and deleted after everything is gone, both while the
//! container's lock is held. Only the holder of the lock changes a row.

use loam_model::{ContainerId, ErrorKind, ExitRecord, Failure, Result};
use loam_state::{Database, Durability, Schema};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ContainerState;
use crate::record::{MainProcess, NetworkFacts, Record};

/// The engine's tables; the program opens the database with this among its schemas.
pub const SCHEMA: Schema = Schema {
    component: "containers",
    versions: &["CREATE TABLE container (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        ephemeral INTEGER NOT NULL,
        spec TEXT NOT NULL,
        image TEXT NOT NULL,
        image_config TEXT NOT NULL,
        slot INTEGER UNIQUE,
        cgroup TEXT NOT NULL,
        process TEXT,
        created TEXT NOT NULL,
        started TEXT,
        finished TEXT,
        network TEXT NOT NULL DEFAULT '{}',
        exit TEXT,
        warnings TEXT NOT NULL DEFAULT '[]',
        failure TEXT
    ) STRICT"],
};

const COLUMNS: &str = "id, name, state, spec, image, image_config, slot, cgroup, process, created, started, \
                       finished, network, exit, warnings, failure";

/// What came of an attempt to insert a row.
pub(crate) enum Inserted {
    /// It is there; the slot is the one it got.
    Yes(Option<u32>),
    /// Another container has the name.
    NameTaken(ContainerId),
    /// Every range of the id pool is taken.
    NoSlot,
}

/// The lowest slot that no row has.
const FREE_SLOT: &str = "SELECT min(candidate) FROM (
        SELECT 0 AS candidate WHERE NOT EXISTS (SELECT 1 FROM container WHERE slot = 0)
        UNION ALL
        SELECT slot + 1 FROM container AS taken
        WHERE slot IS NOT NULL AND NOT EXISTS (SELECT 1 FROM container WHERE slot = taken.slot + 1))";

/// Inserts the row of a new container; gives it the lowest free of `slots` ranges when `mapped`.
pub(crate) fn insert(database: &Database, record: &Record, mapped: bool, slots: u32) -> Result<Inserted> {
    let spec = to_json(&record.spec)?;
    let image_config = to_json(&record.image_config)?;
    database.write(Durability::Unsynced, |transaction| {
        if let Some(taken) = name_holder(transaction, record.name.as_str())? {
            return Ok(Inserted::NameTaken(taken));
        }
        let slot = match mapped {
            true => Some(transaction.prepare_cached(FREE_SLOT)?.query_row([], |row| row.get::<_, u32>(0))?),
            false => None,
        };
        if slot.is_some_and(|slot| slot >= slots) {
            return Ok(Inserted::NoSlot);
        }
        transaction
            .prepare_cached(
                "INSERT INTO container
                 (id, name, state, ephemeral, spec, image, image_config, slot, cgroup, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                record.id.as_str(),
                record.name.as_str(),
                record.state.as_str(),
                record.spec.auto_remove,
                spec,
                record.image.to_string(),
                image_config,
                slot,
                record.cgroup.to_string(),
                record.created,
            ])?;
        Ok(Inserted::Yes(slot))
    })
}

fn name_holder(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<ContainerId>> {
    transaction
        .prepare_cached("SELECT id FROM container WHERE name = ?1")?
        .query_row([name], |row| parsed(row, 0))
        .optional()
}

/// Reads one row.
pub(crate) fn get(database: &Database, id: &ContainerId) -> Result<Option<Record>> {
    database.read(|connection| {
        connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM container WHERE id = ?1"))?
            .query_row([id.as_str()], record)
            .optional()
    })
}

/// Reads the row that has this name or id; else those, at most two, whose id begins so.
pub(crate) fn find(database: &Database, name: &str) -> Result<Vec<Record>> {
    database.read(|connection| {
        let sql = format!("SELECT {COLUMNS} FROM container WHERE name = ?1 OR id = ?1 LIMIT 2");
        let exact = select(connection, &sql, &[name])?;
        let is_prefix = !name.is_empty()
            && name.len() < 64
            && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !exact.is_empty() || !is_prefix {
            return Ok(exact);
        }
        // `g` sorts after every hexadecimal digit.
        let sql = format!("SELECT {COLUMNS} FROM container WHERE id >= ?1 AND id < ?2 LIMIT 2");
        select(connection, &sql, &[name, &format!("{name}g")])
    })
}

/// Reads all rows, the newest first.
pub(crate) fn all(database: &Database) -> Result<Vec<Record>> {
    database.read(|connection| {
        let sql = format!("SELECT {COLUMNS} FROM container ORDER BY created DESC, id");
        select(connection, &sql, &[])
    })
}

fn select(connection: &Connection, sql: &str, values: &[&str]) -> rusqlite::Result<Vec<Record>> {
    connection.prepare_cached(sql)?.query_map(rusqlite::params_from_iter(values), record)?.collect()
}

/// Writes that a container is in this state, and why when something went wrong.
pub(crate) fn set_state(
    database: &Database,
    durability: Durability,
    id: &ContainerId,
    state: ContainerState,
    failure: Option<&str>,
) -> Result<()> {
    update(
        database,
        durability,
        "UPDATE container SET state = ?2, failure = ?3 WHERE id = ?1",
        params![id.as_str(), state.as_str(), failure],
    )
}

/// Writes that a container is made.
pub(crate) fn set_created(
    database: &Database,
    durability: Durability,
    id: &ContainerId,
    warnings: &[String],
) -> Result<()> {
    update(
        database,
        durability,
        "UPDATE container SET state = 'created', warnings = ?2 WHERE id = ?1",
        params![id.as_str(), to_json(warnings)?],
    )
}

/// Writes the facts of a container that now runs.
pub(crate) fn set_running(database: &Database, record: &Record) -> Result<()> {
    let process = record.process.as_ref().map(to_json).transpose()?;
    update(
        database,
        Durability::Unsynced,
        "UPDATE container SET state = 'running', process = ?2, started = ?3, finished = NULL, network = ?4,
         exit = NULL, warnings = ?5, failure = NULL WHERE id = ?1",
        params![
            record.id.as_str(),
            process,
            record.started,
            to_json(&record.network)?,
            to_json(&record.warnings)?
        ],
    )
}

/// Writes what is asked of a container anew.
pub(crate) fn set_spec(database: &Database, durability: Durability, record: &Record) -> Result<()> {
    update(
        database,
        durability,
        "UPDATE container SET spec = ?2 WHERE id = ?1",
        params![record.id.as_str(), to_json(&record.spec)?],
    )
}

/// Writes which networks a container is to be on, and which it is on.
pub(crate) fn set_network(database: &Database, record: &Record) -> Result<()> {
    update(
        database,
        Durability::Synced,
        "UPDATE container SET spec = ?2, network = ?3 WHERE id = ?1",
        params![record.id.as_str(), to_json(&record.spec)?, to_json(&record.network)?],
    )
}

/// Writes how a container ended, and what it is still attached to, which should be nothing.
pub(crate) fn set_stopped(
    database: &Database,
    id: &ContainerId,
    exit: &ExitRecord,
    network: &NetworkFacts,
    failure: Option<&str>,
) -> Result<()> {
    // A power cut that loses this also ends every container, which the row is then brought up to date from.
    update(
        database,
        Durability::Unsynced,
        "UPDATE container SET state = 'stopped', process = NULL, finished = ?2, exit = ?3, network = ?4,
         failure = ?5 WHERE id = ?1",
        params![id.as_str(), exit.finished_at, to_json(exit)?, to_json(network)?, failure],
    )
}

/// Deletes the row of a container of which nothing is left.
pub(crate) fn delete(database: &Database, durability: Durability, id: &ContainerId) -> Result<()> {
    update(database, durability, "DELETE FROM container WHERE id = ?1", params![id.as_str()])
}

fn update(
    database: &Database,
    durability: Durability,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<()> {
    database.write(durability, |transaction| transaction.prepare_cached(sql)?.execute(values).map(|_| ()))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: parsed(row, 0)?,
        name: parsed(row, 1)?,
        state: parsed(row, 2)?,
        spec: from_json(row, 3)?,
        image: parsed(row, 4)?,
        image_config: from_json(row, 5)?,
        slot: row.get(6)?,
        cgroup: parsed(row, 7)?,
        process: from_optional_json::<MainProcess>(row, 8)?,
        created: row.get(9)?,
        started: row.get(10)?,
        finished: row.get(11)?,
        network: from_json::<NetworkFacts>(row, 12)?,
        exit: from_optional_json(row, 13)?,
        warnings: from_json(row, 14)?,
        failure: row.get(15)?,
    })
}

/// A column that holds the text of a checked type.
fn parsed<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(index)?.as_str()?;
    text.parse().map_err(|error| invalid(index, error))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(index)?.as_str()?).map_err(|error| invalid(index, error))
}

fn from_optional_json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(index)?.as_str_or_null()?;
    text.map(serde_json::from_str).transpose().map_err(|error| invalid(index, error))
}

fn invalid(index: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Failure::new(ErrorKind::Internal, "a container's row can't be written as JSON").caused_by(error)
    })
}
