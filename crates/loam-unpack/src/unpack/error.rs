//! Why a layer can't be unpacked.

use std::io;

use loam_model::{ErrorKind, Failure, shown_bytes};

use crate::error::kind_of;

/// Why a layer can't be unpacked. Names of entries are escaped for display already.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bytes could not be had.
    #[error("{0}")]
    Source(Failure),
    /// The archive breaks its own format.
    #[error("the archive is malformed: {0}")]
    Malformed(String),
    /// An entry's name is not one that may be made.
    #[error("entry `{entry}` {rule}")]
    Entry {
        /// The name, escaped.
        entry: String,
        /// What it breaks.
        rule: String,
    },
    /// The layer is larger than allowed.
    #[error("it takes more than {limit} bytes unpacked")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The layer is larger than what is free.
    #[error("it needs more than the {free} bytes that are free in the image store")]
    NoSpace {
        /// What was free at the beginning, in bytes.
        free: u64,
    },
    /// The layer has more entries than there are inodes.
    #[error("it has more files and directories than the {free} inodes that are free in the image store")]
    NoInodes {
        /// What was free at the beginning.
        free: u64,
    },
    /// The kernel refused.
    #[error("entry `{entry}` can't be {action}")]
    System {
        /// The name, escaped.
        entry: String,
        /// What could not be done with it.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl UnpackError {
    pub(crate) fn entry(path: &[u8], rule: impl Into<String>) -> Self {
        UnpackError::Entry { entry: shown_bytes(path), rule: rule.into() }
    }

    pub(crate) fn system(path: &[u8], action: &'static str, error: impl Into<io::Error>) -> Self {
        UnpackError::System { entry: shown_bytes(path), action, source: error.into() }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        UnpackError::Malformed(what.into())
    }

    /// The failure for the seam, with `what` (such as "layer `…` can't be unpacked") before the cause.
    pub fn into_failure(self, what: String) -> Failure {
        let kind = match &self {
            UnpackError::Source(_) => None,
            UnpackError::Malformed(_) | UnpackError::Entry { .. } => Some(ErrorKind::Invalid),
            UnpackError::TooLarge { .. } | UnpackError::NoSpace { .. } | UnpackError::NoInodes { .. } => {
                Some(ErrorKind::Exhausted)
            }
            UnpackError::System { source, .. } => Some(kind_of(source)),
        };
        match (self, kind) {
            (UnpackError::Source(failure), _) => failure,
            (error @ UnpackError::TooLarge { .. }, _) => {
                Failure::new(ErrorKind::Exhausted, what).caused_by(error)
            }
            (error, Some(ErrorKind::Exhausted)) => Failure::new(ErrorKind::Exhausted, what)
                .hint("free some space where the image store is, for example by removing images")
                .caused_by(error),
            (error, kind) => Failure::new(kind.unwrap_or(ErrorKind::Internal), what).caused_by(error),
        }
    }
}

impl From<Failure> for UnpackError {
    fn from(failure: Failure) -> Self {
        UnpackError::Source(failure)
    }
}
