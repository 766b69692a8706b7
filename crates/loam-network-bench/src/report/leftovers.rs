//! What is left where nothing should be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Outcome;

/// What is there that was not there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// How many of each kind: `link`, `address`, `route`, `rule`, `qdisc`, `file`.
    pub counts: BTreeMap<String, usize>,
    /// The first of them.
    pub lines: Vec<String>,
}

impl Remains {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// What is left after something.
#[derive(Clone, Debug, Serialize)]
pub struct LeftoverRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// After what.
    pub after: String,
    /// How many attachments there were.
    pub attachments: usize,
    /// How many of them were killed before ADD had ended.
    pub killed: Option<usize>,
    /// How many calls failed that should have cleaned up.
    pub errors: usize,
    /// What is left at once.
    pub at_once: Option<Remains>,
    /// What is left after five seconds.
    pub later: Option<Remains>,
    /// After how many milliseconds nothing was left.
    pub clean_after: Option<f64>,
    /// How it went; the first error.
    #[serde(flatten)]
    pub outcome: Outcome,
}
