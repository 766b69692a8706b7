//! Seccomp.

use loam_model::oci_spec::runtime::{Capabilities, LinuxSeccomp};
use loam_model::{Result, SeccompChoice};

use crate::seccomp;

/// The seccomp profile, resolved for a container with these capabilities.
pub(super) fn seccomp(choice: &SeccompChoice, bounding: &Capabilities) -> Result<Option<LinuxSeccomp>> {
    Ok(match choice {
        SeccompChoice::Default => Some(seccomp::default_profile(bounding)),
        SeccompChoice::Unconfined => None,
        SeccompChoice::Profile(text) => Some(seccomp::profile_from_json(text, bounding)?),
    })
}
