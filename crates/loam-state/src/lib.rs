//! The state database: `loam.db`, one SQLite file that every Loam process of a state directory shares.
//!
//! ```text
//! loam.db       WAL mode; each component (images, containers, …) owns the tables that its migrations make
//! loam.db-wal   SQLite's; loam.db-shm likewise
//! loam.db-reserve   blocks for when the disk is full
//! ```
//!
//! Any number of processes read and write at once: a reader never waits, a writer waits for the writer before it (up
//! to [`BUSY_TIMEOUT`]). Every write is one IMMEDIATE transaction, so that a process killed at any moment leaves the
//! state before or after it. [`Durability`] says whether a commit also survives a power cut. Version numbers of each
//! component's schema stand in the table `component`.
//!
//! On a full disk the database still opens, and small transactions are still written, from the reserve: what ends things goes on.
//! What makes things asks first ([`Database::require_space`]) and is refused as long as the reserve is not whole.
//!
//! What comes in: SQL of the components. What goes out: [`Failure`](loam_model::Failure)s that name the database.

mod database;
mod failure;
mod patience;
mod reserve;
mod schema;
mod space;
mod trial;

pub use database::{BUSY_TIMEOUT, Database, Durability};
pub use schema::Schema;
