//! The `process` of a configuration: the main one, and further ones.

use std::path::PathBuf;

use loam_model::oci_spec::runtime::{
    Capabilities, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxNamespaceType, Process, ProcessBuilder,
    Spec, UserBuilder,
};
use loam_model::{BundleInput, ErrorKind, Failure, ProcessSpec, Result};

use super::{Host, command};
use crate::lsm::apparmor;
use crate::{capabilities, rlimits};

/// What a process's new files lack: writing by others (022).
const UMASK: u32 = 0o022;
/// The range of `oom_score_adj`.
const OOM_SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// The container's main process.
pub(super) fn main(input: &BundleInput<'_>, host: &Host, warnings: &mut Vec<String>) -> Result<Process> {
    let (spec, image) = (input.spec, input.image);
    let hostname = super::hostname(input)?;
    let grantable = host.grantable(input.mapping.is_some());
    let set = capabilities::resolve(&spec.security.capabilities, grantable)?;
    let ceiling = |resource| rlimits::ceiling(resource, host.can_raise());
    let limits = rlimits::resolve(&spec.limits.rlimits, ceiling, warnings)?;
    let cwd =
        command::working_directory(spec.working_directory.as_deref(), image.working_directory.as_deref())?;
    let user = UserBuilder::default().umask(UMASK).build().expect("every member of a user has a default");
    let mut process = ProcessBuilder::default()
        .terminal(spec.terminal)
        .user(user)
        .args(command::arguments(spec, image, input.init_program)?)
        .env(command::environment(spec, image, &hostname, warnings)?)
        .cwd(PathBuf::from(cwd))
        .capabilities(sets(&set))
        .rlimits(limits)
        .build()
        .expect("every member of a process has a default");
    // Left out rather than false: runtimes have taken the mere presence for a yes.
    process.set_no_new_privileges((!spec.security.allow_new_privileges).then_some(true));
    process
        .set_apparmor_profile(apparmor::resolve(spec.security.apparmor.as_deref(), host.apparmor.as_ref())?);
    process.set_oom_score_adj(oom_score(spec.limits.oom_score_adjust, host, warnings)?);
    Ok(process)
}

/// A further process of a container.
pub(super) fn further(container: &Spec, spec: &ProcessSpec, host: &Host) -> Result<Process> {
    command::check_arguments(&spec.arguments)?;
    let none = || Failure::new(ErrorKind::Invalid, "the container's configuration has no process");
    let mut process = container.process().clone().ok_or_else(none)?;
    let environment = process.env().clone().unwrap_or_default();
    let environment = command::further_environment(&environment, &spec.environment, spec.terminal)?;
    if let Some(directory) = &spec.working_directory {
        process.set_cwd(PathBuf::from(command::working_directory(Some(directory), None)?));
    }
    process.set_args(Some(spec.arguments.clone()));
    process.set_env(Some(environment));
    process.set_terminal(Some(spec.terminal));
    process.set_console_size(None);
    if spec.privileged {
        let namespaces = container.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let own = namespaces.is_some_and(|list| list.iter().any(|one| one.typ() == LinuxNamespaceType::User));
        process.set_capabilities(Some(sets(host.grantable(own))));
        process.set_no_new_privileges(None);
        process.set_apparmor_profile(None);
    }
    Ok(process)
}

/// The sets of a process that has capabilities: nothing is inherited through execve(2), as files would add to it.
fn sets(set: &Capabilities) -> LinuxCapabilities {
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set.clone())
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
        .expect("every member of the sets has a default")
}

/// The shift for the out-of-memory killer. When nobody says, a container does not inherit the engine's protection.
fn oom_score(asked: Option<i32>, host: &Host, warnings: &mut Vec<String>) -> Result<Option<i32>> {
    let Some(asked) = asked else { return Ok((host.oom_score_adjust < 0).then_some(0)) };
    if !OOM_SCORES.contains(&asked) {
        let message = format!("OOM score adjustment `{asked}` is not between -1000 and 1000");
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let least = if host.can_raise() { *OOM_SCORES.start() } else { host.oom_score_adjust };
    if asked < least {
        warnings.push(format!(
            "OOM score adjustment `{asked}` is raised to {least}, the least that this host lets the engine set"
        ));
    }
    Ok(Some(asked.max(least)))
}
