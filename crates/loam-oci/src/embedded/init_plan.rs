//! What a container's first process has to do, read from the configuration before anything is made.

use std::path::{Path, PathBuf};

use loam_model::oci_spec::runtime::{Hook, Linux, Spec};
use loam_model::{CreateRequest, ErrorKind, Failure, Result};

use super::device_plan::DevicePlan;
use super::hook::HookState;
use super::mount_plan::Mounts;
use super::namespaces::{Mappings, Namespaces};
use super::process_plan::ProcessPlan;
use super::step::Fault;
use super::streams::{self, Streams};
use super::sysctl::{self, Sysctl};
use crate::seccomp::{Filter, compile_cached};

/// All that a container's first process, its init, needs to know. It is made before the process is, and found in its
/// copy of the memory.
#[derive(Debug)]
pub(super) struct InitPlan {
    pub(super) fault: Fault,
    pub(super) namespaces: Namespaces,
    pub(super) mappings: Mappings,
    pub(super) root: PathBuf,
    pub(super) root_read_only: bool,
    pub(super) mounts: Mounts,
    pub(super) devices: DevicePlan,
    pub(super) host_name: Option<String>,
    pub(super) domain_name: Option<String>,
    pub(super) sysctls: Vec<Sysctl>,
    pub(super) masked: Vec<String>,
    pub(super) read_only: Vec<String>,
    pub(super) process: ProcessPlan,
    pub(super) filter: Option<Filter>,
    pub(super) streams: Streams,
    /// Whether the shim has hooks to run before the root file system is entered.
    pub(super) runtime_hooks: bool,
    pub(super) container_hooks: Vec<Hook>,
    pub(super) start_hooks: Vec<Hook>,
    /// The container's environment, for hooks that have none.
    pub(super) environment: Vec<String>,
    pub(super) state: HookState,
}

impl InitPlan {
    /// Reads the configuration, checks it, and opens what it names on the host.
    pub(super) fn from(fault: Fault, seccomp_cache: &Path, request: CreateRequest<'_>) -> Result<Self> {
        let spec = request.spec;
        let linux = spec.linux().clone().unwrap_or_default();
        let process = spec.process().as_ref();
        let process = process.ok_or_else(|| invalid("the configuration has no process"))?;
        let root = spec.root().as_ref().ok_or_else(|| invalid("the configuration has no root"))?;
        let namespaces = Namespaces::from(&linux)?;
        let mappings = if namespaces.own_user() { Mappings::from(&linux)? } else { Mappings::default() };
        let devices = DevicePlan::from(Some(&linux))?;
        let sysctls = sysctl::check(&linux.sysctl().clone().unwrap_or_default(), &namespaces)?;
        let process_plan = ProcessPlan::from(process, linux.personality().as_ref())?;
        let mounts = Mounts::from(spec, request.bundle, &namespaces, &mappings, &devices)?;
        let hooks = spec.hooks().clone().unwrap_or_default();
        let list = |hooks: &Option<Vec<Hook>>| hooks.clone().unwrap_or_default();
        Ok(Self {
            fault,
            root: request.bundle.join(root.path()),
            root_read_only: root.readonly().unwrap_or(false),
            mounts,
            devices,
            host_name: spec.hostname().clone(),
            domain_name: spec.domainname().clone(),
            sysctls,
            masked: linux.masked_paths().clone().unwrap_or_default(),
            read_only: linux.readonly_paths().clone().unwrap_or_default(),
            filter: filter(&linux, seccomp_cache)?,
            streams: streams::prepare(request.stdio, &process_plan, &mappings)?,
            process: process_plan,
            runtime_hooks: !list(hooks.prestart()).is_empty() || !list(hooks.create_runtime()).is_empty(),
            container_hooks: list(hooks.create_container()),
            start_hooks: list(hooks.start_container()),
            environment: process.env().clone().unwrap_or_default(),
            state: HookState {
                version: spec.version().clone(),
                id: request.id.as_str().to_owned(),
                bundle: request.bundle.display().to_string(),
                annotations: serde_json::to_value(spec.annotations().clone().unwrap_or_default())
                    .unwrap_or_default(),
            },
            namespaces,
            mappings,
        })
    }
}

fn filter(linux: &Linux, seccomp_cache: &Path) -> Result<Option<Filter>> {
    linux.seccomp().as_ref().map(|profile| compile_cached(profile, seccomp_cache)).transpose()
}

/// Whether the configuration wants what this runtime can't do.
pub(super) fn check_supported(spec: &Spec) -> Result<()> {
    if !loam_sys::features::has_mount_api() {
        return Err(lacks_mount_calls());
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    let wants = [
        (linux.intel_rdt().is_some(), "linux.intelRdt"),
        (linux.memory_policy().is_some(), "linux.memoryPolicy"),
        (linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()), "linux.netDevices"),
        (linux.seccomp().as_ref().is_some_and(|s| s.listener_path().is_some()), "linux.seccomp.listenerPath"),
    ];
    match wants.iter().find(|(wanted, _)| *wanted) {
        Some((_, name)) => {
            let message = format!("`{name}` is not supported by the embedded runtime");
            Err(Failure::new(ErrorKind::Unsupported, message).hint("another runtime may support it"))
        }
        None => Ok(()),
    }
}

/// That this runtime does not work here.
pub(crate) fn lacks_mount_calls() -> Failure {
    let message = "the embedded runtime needs the newer mount calls (`open_tree`, `fsopen`, `mount_setattr` and others), \
                   which this kernel or a sandbox around Loam refuses";
    Failure::new(ErrorKind::Unsupported, message)
        .hint("a runtime that does without them may work, such as `--runtime crun`")
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}
