//! Later processes in a running container: the OCI runtime's `exec`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use loam_model::{ErrorKind, ExecRequest, Failure, Result};
use loam_sys::{CloneFlags, Spawned};
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType as Kind};

use super::cgroup_entry::unified_directory;
use super::channel::{Channel, Message};
use super::child::{adjust_oom_score, raise_limits};
use super::container::Container;
use super::exec_wait::{FirstProcess, Starting, Undo, not_running};
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

/// Begins to make a process in a container. When the container has ended, or does so meanwhile, that is what is wrong.
pub(super) fn begin(fault: Fault, container: &Container, request: ExecRequest<'_>) -> Result<Starting> {
    if container.has_ended() {
        return Err(not_running());
    }
    if container.paused {
        return Err(Failure::new(ErrorKind::Conflict, "the container is paused"));
    }
    let first = FirstProcess::of(container)?;
    match spawn_and_join(fault, container, request) {
        Ok((spawned, ours)) => Ok(Starting::new(spawned, ours, first)),
        Err(failure) => Err(first.explain(failure)),
    }
}

/// Makes the process and moves it into the container's cgroup.
fn spawn_and_join(fault: Fault, container: &Container, request: ExecRequest<'_>) -> Result<(Undo, Channel)> {
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
    let undo = Undo::new(spawn(&plan, theirs, start_cgroup.as_ref().map(AsFd::as_fd))?);
    let child = undo.child()?;
    raise_limits(child.pid, &plan.process.limits);
    if let Some(adjust) = plan.process.oom_score_adjust {
        adjust_oom_score(child.pid, adjust)?;
    }
    if start_cgroup.is_none() {
        fault.reach(Step::CgroupJoin)?;
        container.cgroup.join(child.pid)?;
    }
    Ok((undo, ours))
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
        Streams::Descriptors(_) => {
            session::take_own_null()?;
            None
        }
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
