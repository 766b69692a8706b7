//! The shim's side of a creation.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use loam_model::oci_spec::runtime::{Hook, Spec};
use loam_model::{CreateRequest, CreatedProcess, ErrorKind, Failure, ProcessStdio, Result};
use loam_sys::{CloneFlags, Spawned};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::process::{Pid, Rlimit};

use super::birth::{bear, reap};
use super::channel::{Channel, Message};
use super::container::{Container, KILL};
use super::device_plan::DevicePlan;
use super::explain::Explain;
use super::first::{FirstPlan, Streams};
use super::hook::HookState;
use super::mount_plan::Mounts;
use super::namespaces::{Mappings, Namespaces};
use super::process_plan::{Limit, ProcessPlan};
use super::root::is_on;
use super::step::{Fault, Step};
use super::sysctl;
use crate::Cgroup;
use crate::seccomp::{Filter, compile_cached};

/// How long the new process may take between two messages: the hooks inside have limits of their own.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes a container up to the user's program.
pub(super) fn create(
    fault: Fault,
    seccomp_cache: &Path,
    request: CreateRequest<'_>,
    namespaces_ready: &mut dyn FnMut(i32),
) -> Result<(Container, CreatedProcess)> {
    let spec = request.spec;
    let cgroup_path = cgroup_path(&request);
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    // What is made for `/dev` gets exactly the modes that are asked for.
    let mask = rustix::process::umask(Mode::empty());
    let plan = plan(fault, seccomp_cache, request);
    rustix::process::umask(mask);
    let plan = plan?;
    let hooks = spec.hooks().clone().unwrap_or_default();
    let (ours, theirs) = Channel::pair()?;
    let mut undo = Undo::default();
    // In the unified hierarchy a process can be born into its cgroup; elsewhere it has to be moved, which takes so long
    // that its own work is done meanwhile.
    let unified = unified_root();
    if unified {
        plan.fault.reach(Step::Cgroup)?;
        undo.cgroup = Some(Cgroup::create(&cgroup_path, resources)?);
    }
    let birthplace = undo.cgroup.as_ref().and_then(unified_directory);
    let born = bear(&plan, &ours, theirs, birthplace.as_ref().map(AsFd::as_fd))?;
    let child = undo.child.insert(born);
    let pid = child.pid;
    plan.fault.reach(Step::Mappings)?;
    if plan.namespaces.new.contains(CloneFlags::NEW_USER) {
        map_ids(&plan.mappings, pid)?;
        ours.send(&Message::Mapped)?;
    }
    namespaces_ready(pid);
    raise_limits(pid, &plan.process.limits);
    if let Some(adjust) = plan.process.oom_score_adjust {
        adjust_oom_score(pid, adjust)?;
    }
    if !unified {
        plan.fault.reach(Step::Cgroup)?;
        undo.cgroup = Some(Cgroup::create(&cgroup_path, resources)?);
    }
    let cgroup = undo.cgroup.as_ref().ok_or_else(|| internal("the container has no cgroup"))?;
    plan.fault.reach(Step::CgroupJoin)?;
    if birthplace.is_none() {
        join(cgroup, pid, &ours)?;
    }
    ours.send(&Message::Joined { pid, mounts: cgroup.container_mounts() })?;
    let terminal = loop {
        match ours.receive_within(PATIENCE, child.pidfd.as_fd())? {
            Some(Message::Ready(terminal)) => break terminal,
            Some(Message::Hooks) => {
                plan.fault.reach(Step::Hooks)?;
                for list in [hooks.prestart(), hooks.create_runtime()] {
                    plan.state.run(list.as_deref().unwrap_or_default(), "creating", Some(pid), &[])?;
                }
                ours.send(&Message::HooksDone)?;
            }
            Some(Message::Failed(failure)) => return Err(failure),
            Some(_) | None => return Err(internal("the container's process ended while it was being made")),
        }
    };
    let (Some(child), Some(cgroup)) = (undo.child.take(), undo.cgroup.take()) else {
        return Err(internal("the container has no process"));
    };
    let pidfd = child.pidfd.try_clone().explain(|| "copying a descriptor failed".to_owned())?;
    let container = Container::new(spec, child, cgroup, ours, plan);
    Ok((container, CreatedProcess { pid, pidfd, terminal }))
}

/// What is to be undone when a creation fails.
#[derive(Debug, Default)]
struct Undo {
    child: Option<Spawned>,
    cgroup: Option<Cgroup>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            kill_and_reap(child);
        }
        if let Some(cgroup) = &self.cgroup
            && let Err(failure) = cgroup.remove()
        {
            tracing::warn!("a cgroup is left behind: {}", failure.chain());
        }
    }
}

/// Ends a child that is not wanted after all. It fails only when the child is gone, which is as well.
pub(super) fn kill_and_reap(child: &Spawned) {
    loam_sys::send_signal(child.pidfd.as_fd(), KILL).ok();
    reap(child.pidfd.as_fd()).ok();
}

fn plan(fault: Fault, seccomp_cache: &Path, request: CreateRequest<'_>) -> Result<FirstPlan> {
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
    Ok(FirstPlan {
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
        streams: streams(request.stdio, &process_plan, &mappings)?,
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

fn filter(linux: &loam_model::oci_spec::runtime::Linux, seccomp_cache: &Path) -> Result<Option<Filter>> {
    linux.seccomp().as_ref().map(|profile| compile_cached(profile, seccomp_cache)).transpose()
}

/// Gets a process's streams ready: pipes belong to its user, so that it can open `/dev/stdout` and its like.
pub(super) fn streams(stdio: ProcessStdio, plan: &ProcessPlan, mappings: &Mappings) -> Result<Streams> {
    let (stdin, stdout, stderr) = match stdio {
        ProcessStdio::Terminal(size) => return Ok(Streams::Terminal(size)),
        ProcessStdio::Descriptors { stdin, stdout, stderr } => (stdin, stdout, stderr),
    };
    let (user, group) = mappings.to_host(plan.user, plan.group)?;
    let ready = |descriptor: OwnedFd| -> rustix::io::Result<OwnedFd> {
        if FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode) == FileType::Fifo {
            // Whoever made the pipe may have forbidden that; it can still be used as it is.
            rustix::fs::fchown(&descriptor, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).ok();
        }
        if descriptor.as_raw_fd() > 2 {
            Ok(descriptor)
        } else {
            rustix::io::fcntl_dupfd_cloexec(&descriptor, 3)
        }
    };
    let ready = |descriptor| ready(descriptor).explain(|| "preparing the standard streams failed".to_owned());
    Ok(Streams::Descriptors([ready(stdin)?, ready(stdout)?, ready(stderr)?]))
}

fn cgroup_path(request: &CreateRequest<'_>) -> String {
    let path = request.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    match path.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => path.display().to_string(),
        None => format!("/{}", request.id.as_str()),
    }
}

/// Writes the mappings of a new user namespace.
fn map_ids(mappings: &Mappings, pid: i32) -> Result<()> {
    for (file, mapping) in [("uid_map", &mappings.users), ("gid_map", &mappings.groups)] {
        let Some(mapping) = mapping else { continue };
        std::fs::write(format!("/proc/{pid}/{file}"), mapping.to_map_text())
            .explain(|| format!("writing the `{file}` of the container failed"))?;
    }
    Ok(())
}

/// Raises hard limits above the shim's own where that is allowed; the process itself then sets what it gets.
pub(super) fn raise_limits(pid: i32, limits: &[Limit]) {
    for limit in limits {
        let now = rustix::process::getrlimit(limit.resource);
        let higher = match (limit.hard, now.maximum) {
            (Some(wished), Some(now)) => wished > now,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if higher {
            let raised = Rlimit { current: now.current, maximum: limit.hard };
            rustix::process::prlimit(Pid::from_raw(pid), limit.resource, raised).ok();
        }
    }
}

/// Shifts the choice of the out-of-memory killer. Lowering it takes CAP_SYS_RESOURCE; without, it stays as it is.
pub(super) fn adjust_oom_score(pid: i32, adjust: i32) -> Result<()> {
    match std::fs::write(format!("/proc/{pid}/oom_score_adj"), adjust.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other.explain(|| format!("setting the out-of-memory score `{adjust}` failed")),
    }
}

/// Moves the process into its cgroup. When it is gone it has said why.
fn join(cgroup: &Cgroup, pid: i32, channel: &Channel) -> Result<()> {
    let joined = cgroup.join(pid);
    let Err(failure) = joined else { return Ok(()) };
    let ended = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
    });
    if ended && let Ok(Some(Message::Failed(said))) = channel.receive() {
        return Err(said);
    }
    Err(failure)
}

/// Whether the unified hierarchy is the only one.
fn unified_root() -> bool {
    const CGROUP2: i64 = 0x6367_7270;
    rustix::fs::open("/sys/fs/cgroup", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .and_then(|root| is_on(root.as_fd(), CGROUP2))
        .unwrap_or(false)
}

/// The directory of a cgroup in the unified hierarchy, if that is the only one.
pub(super) fn unified_directory(cgroup: &Cgroup) -> Option<OwnedFd> {
    let mounts = cgroup.container_mounts();
    let [only] = mounts.as_slice() else { return None };
    if !only.target.is_empty() {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&only.source, flags, Mode::empty()).ok()
}

/// Whether the configuration wants what this runtime can't do.
pub(super) fn check_supported(spec: &Spec) -> Result<()> {
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
            Err(Failure::new(ErrorKind::Unsupported, message).hint("choose another one with `--runtime`"))
        }
        None => Ok(()),
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

fn internal(message: &str) -> Failure {
    Failure::new(ErrorKind::Internal, message)
}
