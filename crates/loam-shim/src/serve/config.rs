//! The bundle's `config.json`.

use std::path::Path;

use loam_model::oci_spec::runtime::Spec;
use loam_model::{ErrorKind, Failure, Result};

/// The largest configuration that is read.
const MAX_CONFIG: u64 = 16 << 20;

/// Reads the configuration from the bundle directory.
pub(super) fn read(directory: &Path) -> Result<Spec> {
    let path = directory.join("config.json");
    let failure = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(ErrorKind::Internal, format!("`{}` can't be read", path.display())).caused_by(cause)
    };
    let size = std::fs::metadata(&path).map_err(|error| failure(error.into()))?.len();
    if size > MAX_CONFIG {
        return Err(failure("it is too large".into()));
    }
    let text = std::fs::read(&path).map_err(|error| failure(error.into()))?;
    serde_json::from_slice(&text).map_err(|error| failure(error.into()))
}

/// Writes the configuration for a runtime that reads it itself.
pub(super) fn write(directory: &Path, spec: &Spec) -> Result<()> {
    let path = directory.join("config.json");
    let failure = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(ErrorKind::Internal, format!("`{}` can't be written", path.display())).caused_by(cause)
    };
    let text = serde_json::to_vec(spec).map_err(|error| failure(error.into()))?;
    super::exit::replace_file(&path, &text).map_err(|error| failure(error.into()))
}
