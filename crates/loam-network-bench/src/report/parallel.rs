//! What several callers at once get done.

use serde::Serialize;

use super::Outcome;

/// So many callers at once.
#[derive(Clone, Debug, Serialize)]
pub struct ParallelRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// How many callers.
    pub callers: usize,
    /// ADDs in a second, of all callers together.
    pub adds_per_second: Option<f64>,
    /// DELs in a second.
    pub dels_per_second: Option<f64>,
    /// How many calls there were.
    pub calls: usize,
    /// How many calls failed.
    pub errors: usize,
    /// How it went; the first error.
    #[serde(flatten)]
    pub outcome: Outcome,
}
