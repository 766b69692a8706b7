//! Whether promises were kept.

use serde::{Deserialize, Serialize};

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was.
    Kept,
    /// It was not.
    Broken,
    /// It could not be tried.
    NotTried,
}

/// A promise.
#[derive(Clone, Debug, Serialize)]
pub struct PromiseRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// What is promised.
    pub promise: String,
    /// Whether it was kept.
    pub verdict: Verdict,
    /// What happened instead, or why it could not be tried.
    pub note: String,
}
