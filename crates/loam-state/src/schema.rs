//! Schemas, and how a database's tables are brought up to them.

use loam_model::{ErrorKind, Failure, Result};
use rusqlite::{Connection, Transaction, params};

use crate::{Database, Durability};

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

/// Brings the schemas up to date, in one transaction; reads only when they are.
pub(crate) fn migrate(database: &Database, schemas: &[Schema]) -> Result<()> {
    if database.read(|connection| are_current(connection, schemas))? {
        return Ok(());
    }
    let newer = database.write(Durability::Synced, |transaction| {
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
                database.path().display()
            ),
        )),
    }
}

fn are_current(connection: &Connection, schemas: &[Schema]) -> rusqlite::Result<bool> {
    let exists = connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'component'")?.exists([])?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

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
}
