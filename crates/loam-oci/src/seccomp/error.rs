//! What can go wrong with a seccomp profile.

use std::io;
use std::path::PathBuf;

use libseccomp::error::SeccompError as LibraryError;
use loam_model::{ErrorKind, Failure};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    #[error("seccomp profile is not the JSON of a profile")]
    Json { source: serde_json::Error },
    #[error("seccomp profile is not valid: {rule}")]
    Invalid { rule: String },
    #[error("seccomp action `{action}` is not supported")]
    Action { action: String },
    #[error("compiling the seccomp profile failed at {step}")]
    Compile { step: String, source: LibraryError },
    #[error("keeping the compiled seccomp profile in `{}` failed", path.display())]
    Cache { path: PathBuf, source: io::Error },
    #[error("reading back the compiled seccomp profile failed")]
    Export { source: io::Error },
}

impl SeccompError {
    pub(crate) fn into_failure(self) -> Failure {
        let kind = match &self {
            Self::Json { .. } | Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Action { .. } => ErrorKind::Unsupported,
            Self::Compile { .. } | Self::Cache { .. } | Self::Export { .. } => ErrorKind::Internal,
        };
        let failure = Failure::new(kind, self.to_string());
        match self {
            Self::Json { source } => failure.caused_by(source),
            Self::Compile { source, .. } => failure.caused_by(source),
            Self::Cache { source, .. } | Self::Export { source } => failure.caused_by(source),
            Self::Invalid { .. } | Self::Action { .. } => failure,
        }
    }
}
