//! The clone of a container's first process into its namespaces, new ones and those to join.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::{CloneFlags, Spawned};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use rustix::thread::LinkNameSpaceType;

use super::channel::{Channel, Message};
use super::child::reap;
use super::execute::give_up;
use super::explain::Explain;
use super::init_plan::InitPlan;
use super::init_process;
use super::namespaces::Namespaces;

/// Makes the first process. `theirs` is its end of the channel, `ours` the shim's; with `cgroup` it starts in there.
pub(super) fn spawn_init(
    plan: &InitPlan,
    ours: &Channel,
    theirs: Channel,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    let making = || "making the container's process failed".to_owned();
    let namespaces = &plan.namespaces;
    if !namespaces.need_go_between() {
        return loam_sys::spawn(namespaces.new, cgroup, || init_process::run(plan, theirs)).explain(making);
    }
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).explain(making)?;
    let go_between =
        loam_sys::spawn(CloneFlags::empty(), None, || run_go_between(plan, theirs, &writer, cgroup))
            .explain(making)?;
    drop(writer);
    let mut bytes = [0; 4];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&reader, &mut bytes));
    reap(go_between.pidfd.as_fd()).explain(making)?;
    if length.explain(making)? == bytes.len() {
        let pid = i32::from_ne_bytes(bytes);
        let failed = || Failure::new(ErrorKind::Internal, making());
        let name = Pid::from_raw(pid).ok_or_else(failed)?;
        let pidfd = loam_sys::open_process(name).explain(making)?;
        return Ok(Spawned { pid, pidfd });
    }
    match ours.receive()? {
        Some(Message::Failed(failure)) => Err(failure),
        _ => Err(Failure::new(ErrorKind::Internal, making())),
    }
}

/// A process for a moment: it enters the namespaces to join, and makes the first process from there, as its sibling.
/// The rest of what is new is made by the clone, so that it belongs to a user namespace that was joined.
fn run_go_between(
    plan: &InitPlan,
    channel: Channel,
    writer: &OwnedFd,
    cgroup: Option<BorrowedFd<'_>>,
) -> i32 {
    let result = enter(&plan.namespaces);
    let descriptor = channel.into_descriptor();
    let copy = descriptor.try_clone().explain(|| "copying a descriptor failed".to_owned());
    let channel = Channel::from_descriptor(descriptor);
    let spawned = result.and(copy).and_then(|theirs| {
        let flags = plan.namespaces.new | CloneFlags::SIBLING;
        loam_sys::spawn(flags, cgroup, || init_process::run(plan, Channel::from_descriptor(theirs)))
            .explain(|| "making the container's process failed".to_owned())
    });
    let told = spawned.and_then(|spawned| {
        rustix::io::write(writer, &spawned.pid.to_ne_bytes())
            .explain(|| "telling the process id failed".to_owned())
    });
    match told {
        Ok(_) => 0,
        Err(failure) => give_up(&channel, failure),
    }
}

/// What a kind of namespace is called (namespaces(7)).
fn word(kind: LinkNameSpaceType) -> &'static str {
    match kind {
        LinkNameSpaceType::Time => "time",
        LinkNameSpaceType::Mount => "mount",
        LinkNameSpaceType::ControlGroup => "cgroup",
        LinkNameSpaceType::HostNameAndNISDomainName => "uts",
        LinkNameSpaceType::InterProcessCommunication => "ipc",
        LinkNameSpaceType::User => "user",
        LinkNameSpaceType::ProcessID => "pid",
        LinkNameSpaceType::Network => "network",
    }
}

fn enter(namespaces: &Namespaces) -> Result<()> {
    let failed = |kind: LinkNameSpaceType| format!("joining the {} namespace failed", word(kind));
    // What belongs to the host's user namespace must be joined before that is left, and what belongs to the one that
    // is joined, after.
    let is_user = |kind: LinkNameSpaceType| kind == LinkNameSpaceType::User;
    let mut refused: Vec<(LinkNameSpaceType, &OwnedFd)> = Vec::new();
    for (kind, namespace) in namespaces.joined.iter().filter(|(kind, _)| !is_user(*kind)) {
        match rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(*kind)) {
            Err(Errno::PERM) => refused.push((*kind, namespace)),
            other => other.explain(|| failed(*kind))?,
        }
    }
    if let Some(offsets) = &namespaces.new_time {
        loam_sys::unshare_time_for_children().explain(|| "making a time namespace failed".to_owned())?;
        if !offsets.is_empty() {
            std::fs::write("/proc/self/timens_offsets", offsets)
                .explain(|| "setting the clocks of the time namespace failed".to_owned())?;
        }
    }
    for (kind, namespace) in namespaces.joined.iter().filter(|(kind, _)| is_user(*kind)) {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(*kind))
            .explain(|| failed(*kind))?;
    }
    for (kind, namespace) in refused {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind)).explain(|| failed(kind))?;
    }
    Ok(())
}
