//! The error object of the protocol (SPEC.md, "Error").

use std::error::Error;
use std::fmt;

use loam_sys::without_error_numbers;
use serde::{Deserialize, Serialize};

/// The error codes: 0 to 99 are the specification's, from 100 on our own.
pub mod code {
    /// The configuration's version is not supported.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration is not supported.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable is missing or invalid.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Input or output failed.
    pub const IO: u32 = 5;
    /// The input can't be decoded.
    pub const DECODE: u32 = 6;
    /// The configuration is invalid.
    pub const INVALID_CONFIG: u32 = 7;
    /// The network namespace is invalid (of the reference library, not of the specification).
    pub const INVALID_NAMESPACE: u32 = 8;
    /// The runtime should try again later.
    pub const TRY_AGAIN: u32 = 11;
    /// The plugin can't serve ADD now (STATUS).
    pub const UNAVAILABLE: u32 = 50;
    /// As 50, and containers may have limited connectivity (STATUS).
    pub const UNAVAILABLE_DEGRADED: u32 = 51;
    /// A host port is taken.
    pub const PORT_TAKEN: u32 = 101;
    /// No address is left in the range.
    pub const ADDRESSES_EXHAUSTED: u32 = 102;
    /// The attachment, address or interface exists already.
    pub const EXISTS: u32 = 103;
    /// The kernel lacks something.
    pub const UNSUPPORTED_KERNEL: u32 = 104;
    /// Everything that has no code of its own (as the reference library numbers it).
    pub const INTERNAL: u32 = 999;
}

/// An error as a plugin reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniError {
    /// The code, see [`code`].
    pub code: u32,
    /// What went wrong.
    #[serde(default, rename = "msg")]
    pub message: String,
    /// The cause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// Makes an error without details.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        let message = without_error_numbers(&message.into()).into_owned();
        Self { code, message, details: String::new() }
    }

    /// Makes an error of code [`code::INTERNAL`] with its cause.
    pub fn internal(message: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(code::INTERNAL, message).because(cause)
    }

    /// Makes an error of code [`code::IO`] with its cause.
    pub fn io(message: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(code::IO, message).because(cause)
    }

    /// Makes an error of code [`code::INVALID_CONFIG`].
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_CONFIG, message)
    }

    /// Makes an error of code [`code::UNSUPPORTED_FIELD`] that names key and value (SPEC.md, "Error codes").
    pub fn unsupported_field(key: &str, value: impl fmt::Display) -> Self {
        Self::new(code::UNSUPPORTED_FIELD, format!("field `{key}` with value `{value}` is not supported"))
    }

    /// Adds the chain of causes as details.
    #[must_use]
    pub fn because(mut self, cause: &dyn Error) -> Self {
        let mut details = cause.to_string();
        let mut next = cause.source();
        while let Some(cause) = next {
            details.push_str(": ");
            details.push_str(&cause.to_string());
            next = cause.source();
        }
        self.details = without_error_numbers(&details).into_owned();
        self
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if !self.details.is_empty() {
            write!(formatter, ": {}", self.details)?;
        }
        Ok(())
    }
}

impl Error for CniError {}
