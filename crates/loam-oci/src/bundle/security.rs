//! Seccomp.

use loam_model::oci_spec::runtime::{Capabilities, LinuxSeccomp};
use loam_model::{Result, SeccompChoice};

use crate::seccomp;

/// The seccomp profile, resolved for a container with these capabilities. With `fixed_projects` it has to keep files in
/// their project quota.
pub(super) fn seccomp(
    choice: &SeccompChoice,
    bounding: &Capabilities,
    fixed_projects: bool,
) -> Result<Option<LinuxSeccomp>> {
    Ok(match choice {
        SeccompChoice::Default if fixed_projects => {
            Some(seccomp::default_profile_with_fixed_projects(bounding))
        }
        SeccompChoice::Default => Some(seccomp::default_profile(bounding)),
        SeccompChoice::Unconfined => None,
        SeccompChoice::Profile(text) => Some(seccomp::profile_from_json(text, bounding)?),
    })
}
