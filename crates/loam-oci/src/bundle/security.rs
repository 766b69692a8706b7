//! Seccomp.

use loam_model::oci_spec::runtime::{Capabilities, LinuxSeccomp};
use loam_model::{ErrorKind, Failure, MountKind, MountSpec, Result, SeccompChoice};

use super::Host;
use crate::seccomp;

/// Refuses to give the files of a volume the container's label, where there are labels. It would be done to files that
/// others use, too.
pub(super) fn refuse_relabelling(mounts: &[MountSpec], host: &Host) -> Result<()> {
    let asked = mounts.iter().find_map(|mount| match &mount.kind {
        MountKind::Bind { source, relabel: true, .. } => Some(source),
        _ => None,
    });
    match asked.filter(|_| host.selinux.is_some()) {
        None => Ok(()),
        Some(source) => {
            let message = format!("mount source `{}` can't be relabelled for SELinux", source.display());
            Err(Failure::new(ErrorKind::Unsupported, message)
                .hint("leave out `z` and `Z`, and label it yourself with `chcon` or `semanage fcontext`"))
        }
    }
}

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
