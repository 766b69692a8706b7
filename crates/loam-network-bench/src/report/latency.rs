//! What ADD, CHECK and DEL take.

use serde::Serialize;

use super::Outcome;
use crate::measure::{Samples, Summary};

/// A verb.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// `ADD`, `CHECK`, `DEL`, or `DEL, namespace gone`.
    pub verb: String,
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
