//! How fast connections are.

use serde::Serialize;

use super::Outcome;
use crate::measure::Summary;

/// A way that connections take.
#[derive(Clone, Debug, Serialize)]
pub struct DataPathRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// From where to where.
    pub path: String,
    /// Gigabits in a second.
    pub throughput: Option<Summary>,
    /// Microseconds until a byte has come back.
    pub round_trip: Option<Summary>,
    /// Microseconds until a connection has been made and a byte has come back.
    pub connection: Option<Summary>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}
