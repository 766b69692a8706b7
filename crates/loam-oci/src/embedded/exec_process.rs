//! Later processes in a running container: the OCI runtime's `exec`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use loam_model::{CreatedProcess, ErrorKind, ExecRequest, Failure, Result};
use loam_sys::{CloneFlags, Spawned};
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType as Kind};

use super::cgroup_entry::unified_directory;
use super::channel::{Channel, Message};
use super::child::{adjust_oom_score, kill_and_reap, raise_limits};
use super::container::Container;
use super::execute::{execute, give_up};
use super::explain::Explain;
use super::identity::{LabelFiles, become_root, look_up, take_on};
use super::paths::open_host_proc;
use super::process_plan::ProcessPlan;
use super::session;
use super::step::{Fault, Step};
use super::streams::{self, Streams};
use super::terminal::Terminal;
use crate::seccomp::Filter;

/// How long a process may take for each of its two steps: to be ready, and to become the user's program.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a process in a container, up to and with the user's program.
pub(super) fn exec(fault: Fault, container: &Container, request: ExecRequest<'_>) -> Result<CreatedProcess> {
    if container.has_ended() {
        return Err(Failure::new(ErrorKind::Conflict, "the container is not running"));
    }
    if container.paused {
        return Err(Failure::new(ErrorKind::Conflict, "the container is paused"));
    }
    let process = ProcessPlan::from(request.process, container.personality.as_ref())?;
    let plan = ExecPlan {
        fault,
        streams: streams::prepare(request.stdio, &process, &container.mappings)?,
        process,
        filter: container.filter.as_ref(),
        init: container.pidfd.as_fd(),
        namespaces: container.namespaces,
    };
    let (ours, theirs) = Channel::pair()?;
    let start_cgroup = unified_directory(&container.cgroup);
    let spawned = spawn(&plan, theirs, start_cgroup.as_ref().map(AsFd::as_fd))?;
    let undo = Undo(Some(spawned));
    let Some(child) = &undo.0 else {
        return Err(Failure::new(ErrorKind::Internal, "the process is gone"));
    };
    raise_limits(child.pid, &plan.process.limits);
    if let Some(adjust) = plan.process.oom_score_adjust {
        adjust_oom_score(child.pid, adjust)?;
    }
    if start_cgroup.is_none() {
        fault.reach(Step::CgroupJoin)?;
        container.cgroup.join(child.pid)?;
    }
    drop(plan);
    let terminal = match ours.receive_within(PATIENCE, child.pidfd.as_fd())? {
        Some(Message::Ready(terminal)) => terminal,
        Some(Message::Failed(failure)) => return Err(failure),
        _ => return Err(Failure::new(ErrorKind::Internal, "the process ended while it was being made")),
    };
    ours.send(&Message::Start)?;
    if let Some(Message::Failed(failure)) = ours.receive_within(PATIENCE, child.pidfd.as_fd())? {
        return Err(failure);
    }
    undo.keep(terminal)
}

/// Kills the process when it is not wanted after all.
struct Undo(Option<Spawned>);

impl Undo {
    fn keep(mut self, terminal: Option<std::os::fd::OwnedFd>) -> Result<CreatedProcess> {
        match self.0.take() {
            Some(Spawned { pid, pidfd }) => Ok(CreatedProcess { pid, pidfd, terminal }),
            None => Err(Failure::new(ErrorKind::Internal, "the process is gone")),
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            kill_and_reap(child);
        }
    }
}

/// All that a later process needs to know.
struct ExecPlan<'a> {
    fault: Fault,
    process: ProcessPlan,
    filter: Option<&'a Filter>,
    streams: Streams,
    init: BorrowedFd<'a>,
    namespaces: Kind,
}

/// Makes the process. Process ids can't be changed later, so the shim makes it among the container's.
fn spawn(plan: &ExecPlan<'_>, theirs: Channel, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    let making = || "making a process in the container failed".to_owned();
    let clone = || loam_sys::spawn(CloneFlags::empty(), cgroup, || run(plan, theirs)).explain(making);
    if !plan.namespaces.contains(Kind::PROCESS_ID) {
        return clone();
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self/ns/pid", flags, Mode::empty()).explain(making)?;
    rustix::thread::move_into_thread_name_spaces(plan.init, Kind::PROCESS_ID)
        .explain(|| "joining the container's process ids failed".to_owned())?;
    let spawned = clone();
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .explain(|| "returning to the host's process ids failed".to_owned())?;
    spawned
}

fn run(plan: &ExecPlan<'_>, channel: Channel) -> i32 {
    match prepare(plan, &channel) {
        Ok(Some(program)) => execute(&program, &plan.process, plan.filter, channel),
        Ok(None) => 1,
        Err(failure) => give_up(&channel, failure),
    }
}

fn prepare(plan: &ExecPlan<'_>, channel: &Channel) -> Result<Option<CString>> {
    let preparing = || "preparing the new process failed".to_owned();
    // As for the first process: the container's processes see this one from now on.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).explain(preparing)?;
    let mut kept = vec![channel.descriptor(), plan.init];
    kept.extend(plan.streams.descriptors());
    loam_sys::close_all_but(&kept).explain(preparing)?;
    plan.fault.reach(Step::Session)?;
    let labels = if plan.process.labels.is_empty() {
        LabelFiles::default()
    } else {
        LabelFiles::open(open_host_proc()?.as_fd(), &plan.process.labels)?
    };
    session::begin(&plan.streams, &labels)?;
    let rest = plan.namespaces & !Kind::PROCESS_ID;
    rustix::thread::move_into_thread_name_spaces(plan.init, rest)
        .explain(|| "joining the container's namespaces failed".to_owned())?;
    if plan.namespaces.contains(Kind::USER) {
        become_root()?;
    }
    plan.fault.reach(Step::Terminal)?;
    let master = match plan.streams {
        Streams::Terminal(size) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open("/", flags, Mode::empty()).explain(preparing)?;
            let terminal = Terminal::open(root.as_fd(), size)?;
            terminal.take(plan.process.user)?;
            Some(terminal.master)
        }
        Streams::Descriptors(_) => None,
    };
    plan.fault.reach(Step::Identity)?;
    take_on(&plan.process, &labels, plan.filter)?;
    plan.fault.reach(Step::Lookup)?;
    let program = look_up(&plan.process)?;
    channel.send(&Message::Ready(master))?;
    match channel.receive()? {
        Some(Message::Start) => {
            plan.fault.reach(Step::Start)?;
            Ok(Some(program))
        }
        _ => Ok(None),
    }
}
