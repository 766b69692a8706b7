//! The shim's side of a creation.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use loam_model::oci_spec::runtime::Spec;
use loam_model::{CgroupDriver, CreateRequest, CreatedProcess, ErrorKind, Failure, Result};
use loam_sys::{CloneFlags, Spawned};
use rustix::fs::Mode;

use super::cgroup_entry::{cgroup_place, join, unified_directory, unified_root};
use super::channel::{Channel, Message};
use super::child::{adjust_oom_score, kill_and_reap, map_ids, raise_limits};
use super::container::Container;
use super::explain::Explain;
use super::init_plan::InitPlan;
use super::spawn_init::spawn_init;
use super::step::{Fault, Step};
use crate::Cgroup;

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
    let place = cgroup_place(&request)?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    // What is made for `/dev` gets exactly the modes that are asked for.
    let mask = rustix::process::umask(Mode::empty());
    let plan = InitPlan::from(fault, seccomp_cache, request);
    rustix::process::umask(mask);
    let plan = plan?;
    let (ours, theirs) = Channel::pair()?;
    let mut undo = Undo::default();
    // In the unified hierarchy a process can start in its cgroup; elsewhere it has to be moved, which takes so long that
    // its own work is done meanwhile. A scope of systemd's is made around a process that exists.
    let starts_inside = unified_root() && place.driver() == CgroupDriver::Cgroupfs;
    if starts_inside {
        fault.reach(Step::Cgroup)?;
        undo.cgroup = Some(Cgroup::create(&place.path(), resources)?);
    }
    let start_cgroup = undo.cgroup.as_ref().and_then(unified_directory);
    let spawned = spawn_init(&plan, &ours, theirs, start_cgroup.as_ref().map(AsFd::as_fd))?;
    let child = undo.child.insert(spawned);
    let pid = child.pid;
    set_up(&plan, pid, &ours, namespaces_ready)?;
    if !starts_inside {
        fault.reach(Step::Cgroup)?;
        let annotations = spec.annotations().clone().unwrap_or_default();
        undo.cgroup = Some(Cgroup::create_around(&place, pid, resources, &annotations)?);
    }
    let cgroup = undo.cgroup.as_mut().ok_or_else(|| internal("the container has no cgroup"))?;
    fault.reach(Step::CgroupJoin)?;
    if start_cgroup.is_none() {
        join(cgroup, pid, &ours)?;
    }
    ours.send(&Message::Joined { pid, mounts: cgroup.container_mounts() })?;
    let terminal = await_ready(&plan, spec, child, &ours)?;
    let (Some(child), Some(cgroup)) = (undo.child.take(), undo.cgroup.take()) else {
        return Err(internal("the container has no process"));
    };
    let pidfd = child.pidfd.try_clone().explain(|| "copying a descriptor failed".to_owned())?;
    let container = Container::new(spec, child, cgroup, ours, plan);
    Ok((container, CreatedProcess { pid, pidfd, terminal }))
}

/// Gives the process what only the shim can give it, and tells the caller of its namespaces.
fn set_up(plan: &InitPlan, pid: i32, channel: &Channel, namespaces_ready: &mut dyn FnMut(i32)) -> Result<()> {
    plan.fault.reach(Step::Mappings)?;
    if plan.namespaces.new.contains(CloneFlags::NEW_USER) {
        map_ids(&plan.mappings, pid)?;
        channel.send(&Message::Mapped)?;
    }
    namespaces_ready(pid);
    raise_limits(pid, &plan.process.limits);
    match plan.process.oom_score_adjust {
        Some(adjust) => adjust_oom_score(pid, adjust),
        None => Ok(()),
    }
}

/// Waits until the process has only the user's program left to become, and runs the hooks that it asks for. Gives the
/// master of its terminal.
fn await_ready(plan: &InitPlan, spec: &Spec, child: &Spawned, channel: &Channel) -> Result<Option<OwnedFd>> {
    let hooks = spec.hooks().clone().unwrap_or_default();
    loop {
        match channel.receive_within(PATIENCE, child.pidfd.as_fd())? {
            Some(Message::Ready(terminal)) => return Ok(terminal),
            Some(Message::Hooks) => {
                plan.fault.reach(Step::Hooks)?;
                for list in [hooks.prestart(), hooks.create_runtime()] {
                    let list = list.as_deref().unwrap_or_default();
                    plan.state.run(list, "creating", Some(child.pid), &[])?;
                }
                channel.send(&Message::HooksDone)?;
            }
            Some(Message::Failed(failure)) => return Err(failure),
            Some(_) | None => return Err(internal("the container's process ended while it was being made")),
        }
    }
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

fn internal(message: &str) -> Failure {
    Failure::new(ErrorKind::Internal, message)
}
