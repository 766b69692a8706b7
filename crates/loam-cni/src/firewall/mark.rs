//! Marks of run directories, several of which share the tables of one kernel.
//!
//! Whoever restores a table that was flushed has the records of its own run directory alone, and then the table looks whole to all
//! others. So each leaves a mark in it, an empty chain with its directory's hash in its name, once its records are in. Where
//! the mark is missing the records are, too, and the first that looks for its own puts them back: a change, a CHECK, a watch. The mark
//! stays when a run directory has nothing more; it goes with the table.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Firewall, FirewallError};

/// What names of marks begin with.
const PREFIX: &str = "state_";

/// The mark of a state directory.
pub(super) fn of(state_directory: &Path) -> String {
    let hash = Sha256::digest(state_directory.as_os_str().as_bytes());
    let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

impl Firewall {
    /// Whether other state directories have left a mark in the table.
    pub(super) fn has_other_marks(&mut self) -> Result<bool, FirewallError> {
        Ok(self.found_chains()?.iter().any(|(name, _)| name.starts_with(PREFIX) && *name != self.mark))
    }
}
