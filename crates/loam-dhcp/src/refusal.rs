//! What a keeper says when it can't do what was asked for: the error object of the Container Network Interface (SPEC.md,
//! "Error"), so that a plugin passes it on as it is.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The codes that a keeper uses, with the numbers of the Container Network Interface.
pub mod code {
    /// Input or output failed.
    pub const IO: u32 = 5;
    /// The network namespace is invalid.
    pub const INVALID_NAMESPACE: u32 = 8;
    /// The caller should try again later.
    pub const TRY_AGAIN: u32 = 11;
    /// Everything that has no code of its own.
    pub const INTERNAL: u32 = 999;
}

/// Why something can't be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The code, see [`code`].
    pub code: u32,
    /// What went wrong.
    #[serde(default, rename = "msg")]
    pub message: String,
    /// The cause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Refusal {
    /// Makes one without a cause.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// Makes one of code [`code::IO`] with its cause.
    pub fn io(message: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(code::IO, message).because(cause)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: &dyn Error) -> Self {
        self.details = cause.to_string();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if !self.details.is_empty() {
            write!(formatter, ": {}", self.details)?;
        }
        Ok(())
    }
}

impl Error for Refusal {}
