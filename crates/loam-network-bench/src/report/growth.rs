//! What ADD takes with more and more attachments present.

use serde::{Deserialize, Serialize};

use super::Outcome;

/// ADD with so many attachments present.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrowthPoint {
    /// How many are present.
    pub present: usize,
    /// Wall time of ADD in milliseconds, the median.
    pub add: f64,
    /// Processor time of ADD in milliseconds, the median.
    pub cpu: f64,
    /// Wall time as a multiple of that with one present.
    pub ratio: f64,
    /// Wall time of making and configuring a pair on the same bridge by three netlink requests, in milliseconds, the median:
    /// the kernel's share. `None` where there is no bridge.
    pub bare: Option<f64>,
    /// The same as a multiple of that with one present.
    pub bare_ratio: Option<f64>,
}

/// The growth of a contender.
#[derive(Clone, Debug, Serialize)]
pub struct GrowthRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// By number of attachments.
    pub points: Vec<GrowthPoint>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}
