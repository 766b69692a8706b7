//! The steps of a creation, by name, so that a test can let each of them fail.

use loam_model::{ErrorKind, Failure, Result};

/// A step of [`create`](loam_model::Runtime::create) or [`exec`](loam_model::Runtime::exec).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Step {
    // In the shim.
    Mappings,
    Cgroup,
    CgroupJoin,
    Hooks,
    // In the new process, in this order.
    Session,
    Network,
    Root,
    Mounts,
    Devices,
    Terminal,
    Sysctls,
    WorkingDirectory,
    ContainerHooks,
    Pivot,
    Paths,
    CgroupMounts,
    Identity,
    Lookup,
    Start,
}

impl Step {
    /// Every step.
    pub const ALL: [Step; 19] = [
        Step::Mappings,
        Step::Cgroup,
        Step::CgroupJoin,
        Step::Hooks,
        Step::Session,
        Step::Network,
        Step::Root,
        Step::Mounts,
        Step::Devices,
        Step::Terminal,
        Step::Sysctls,
        Step::WorkingDirectory,
        Step::ContainerHooks,
        Step::Pivot,
        Step::Paths,
        Step::CgroupMounts,
        Step::Identity,
        Step::Lookup,
        Step::Start,
    ];
}

/// The step that shall fail, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fault(pub(super) Option<Step>);

impl Fault {
    /// Fails when this step was chosen.
    pub(super) fn reach(self, step: Step) -> Result<()> {
        if self.0 == Some(step) {
            return Err(Failure::new(ErrorKind::Internal, format!("step `{step:?}` failed as asked")));
        }
        Ok(())
    }
}
