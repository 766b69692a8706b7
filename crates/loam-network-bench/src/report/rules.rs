//! What setting rules on what containers may reach takes.

use serde::Serialize;

use super::Outcome;
use crate::measure::{Samples, Summary};

/// Rules that are set at once.
#[derive(Clone, Debug, Serialize)]
pub struct RulesRow {
    /// The contender's name.
    pub contender: String,
    /// How many rules.
    pub rules: u16,
    /// For which container: `first`, or `with the same rules`.
    pub container: String,
    /// Wall time in milliseconds.
    pub wall: Option<Summary>,
    /// Processor time in milliseconds.
    pub cpu: Option<Summary>,
    /// Each wall time, in the order of measuring.
    pub samples: Samples,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}
