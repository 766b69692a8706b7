//! Project ids for snapshots: from a range of the store's own, round and round.

use std::ops::Range;

use loam_model::{ContainerId, ErrorKind, Failure, Result};
use loam_state::Durability;
use rusqlite::{OptionalExtension, Transaction, params};

use super::Counted;
use crate::LayerStore;
use crate::quota::project;

/// How many project ids that somebody else uses are passed over.
const ATTEMPTS: u32 = 64;

impl LayerStore {
    /// Goes on to the next project id as long as the file system counts something under the one that was chosen: other
    /// programs, and other stores on the same file system, choose for themselves.
    pub(super) fn find_unused_project(&self, container: &ContainerId, counted: &mut Counted) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some(project) = counted.project else { return Err(no_project()) };
            if !project::is_in_use(&self.places, project)? {
                return Ok(());
            }
            counted.project = self.database.write(Durability::Unsynced, |transaction| {
                let next = next_project(transaction, &self.config.projects)?;
                transaction
                    .prepare_cached("UPDATE snapshot SET project = ?2 WHERE container = ?1")?
                    .execute(params![container.as_str(), next])?;
                Ok(next)
            })?;
        }
        Err(no_project())
    }
}

/// Takes the next project id of the range that no snapshot has. The first one ever is chosen at random: another store may
/// lie on the same file system.
pub(super) fn next_project(
    transaction: &Transaction<'_>,
    projects: &Range<u32>,
) -> rusqlite::Result<Option<u32>> {
    let cursor: Option<u32> = transaction
        .prepare_cached("SELECT next FROM project_cursor")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let count = projects.end.saturating_sub(projects.start);
    if count == 0 {
        return Ok(None);
    }
    let mut next = match cursor.filter(|cursor| projects.contains(cursor)) {
        Some(cursor) => cursor,
        None => projects.start + getrandom::u32().unwrap_or(0) % count,
    };
    let mut taken = transaction.prepare_cached("SELECT 1 FROM snapshot WHERE project = ?1")?;
    for _ in 0..count {
        let candidate = next;
        next = if next + 1 >= projects.end { projects.start } else { next + 1 };
        if !taken.exists([candidate])? {
            transaction
                .prepare_cached(
                    "INSERT INTO project_cursor (only, next) VALUES (1, ?1)
                     ON CONFLICT (only) DO UPDATE SET next = ?1",
                )?
                .execute([next])?;
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

pub(super) fn no_project() -> Failure {
    Failure::new(ErrorKind::Exhausted, "no project id is free for a disk limit")
        .hint("remove containers, or give the store another range of project ids")
}

#[cfg(test)]
mod tests {
    use loam_state::Database;

    use super::*;

    #[test]
    fn project_ids_go_round_and_are_never_given_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&directory.path().join("loam.db"), &[crate::SCHEMA]).expect("opens");
        let range = 1000..1003;
        let take = |container: &str| {
            database
                .write(Durability::Unsynced, |transaction| {
                    let project = next_project(transaction, &range)?;
                    transaction.execute(
                        "INSERT INTO snapshot (container, image, ephemeral, project) VALUES (?1, 'i', 1, ?2)",
                        params![container, project],
                    )?;
                    Ok(project)
                })
                .expect("writes")
        };
        database
            .write(Durability::Unsynced, |transaction| {
                transaction.execute(
                    "INSERT INTO image (id, manifest, media_type, platform, config, added)
                     VALUES ('i', 'm', 't', 'p', 'c', 0)",
                    [],
                )
            })
            .expect("an image");
        let first = take("a").expect("free");
        let mut ids = vec![first, take("b").expect("free"), take("c").expect("free")];
        ids.sort_unstable();
        assert_eq!(ids, [1000, 1001, 1002]);
        assert_eq!(take("d"), None);
        database
            .write(Durability::Unsynced, |t| {
                t.execute("DELETE FROM snapshot WHERE container IN ('a', 'd')", [])
            })
            .expect("deletes");
        assert_eq!(take("e"), Some(first));
    }
}
