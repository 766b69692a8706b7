//! Seccomp, AppArmor and SELinux.

use loam_model::oci_spec::runtime::{Capabilities, LinuxSeccomp};
use loam_model::{ErrorKind, Failure, Result, SeccompChoice, Security, shown};

use super::Host;
use crate::seccomp;

/// The word for "none".
const UNCONFINED: &str = "unconfined";

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

/// The AppArmor profile. Where the kernel has none it is refused: the container would run without it.
pub(super) fn apparmor(security: &Security, host: &Host) -> Result<Option<String>> {
    let Some(profile) = security.apparmor.as_deref().filter(|&profile| profile != UNCONFINED) else {
        return Ok(None);
    };
    check_label("AppArmor profile", profile)?;
    if host.apparmor {
        return Ok(Some(profile.to_owned()));
    }
    let message = format!("AppArmor profile `{profile}` can't be applied: this kernel has no AppArmor");
    Err(Failure::new(ErrorKind::Unsupported, message))
}

/// The SELinux label, likewise.
pub(super) fn selinux(security: &Security, host: &Host) -> Result<Option<String>> {
    let Some(label) = security.selinux_label.as_deref() else { return Ok(None) };
    check_label("SELinux label", label)?;
    if host.selinux {
        return Ok(Some(label.to_owned()));
    }
    let message = format!("SELinux label `{label}` can't be applied: this kernel has no SELinux");
    Err(Failure::new(ErrorKind::Unsupported, message))
}

/// A label is written to a file of `/proc` as it is.
fn check_label(what: &str, label: &str) -> Result<()> {
    if !label.is_empty()
        && label.len() <= 4096
        && !label.contains(|c: char| c.is_control() || c.is_whitespace())
    {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Invalid, format!("{what} `{}` is not a plain name", shown(label))))
}
