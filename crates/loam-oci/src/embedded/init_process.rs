//! The container's first process, its init: from the clone into the new namespaces to the user's program.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loam_model::{ErrorKind, Failure, Result};
use loam_sys::{CloneFlags, MountChange};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType;

use super::cgroup_work::mount_cgroups;
use super::channel::{Channel, Message};
use super::execute::{execute, give_up};
use super::explain::Explain;
use super::identity::{LabelFiles, become_root, look_up, take_on};
use super::init_plan::InitPlan;
use super::mount_work::{Work, open_root};
use super::namespaces::Mappings;
use super::options::attribute;
use super::paths::{make_read_only, mask, open_host_proc};
use super::root::{PointKind, find, find_or_make, find_without_links};
use super::session;
use super::step::Step;
use super::streams::Streams;
use super::sysctl;
use super::terminal::Terminal;
use crate::CgroupMount;

/// Runs the first process. Comes back only when it can't go on, with the code to end with.
pub(super) fn run(plan: &InitPlan, channel: Channel) -> i32 {
    let init = InitProcess { plan, channel: &channel, pid: None };
    match init.prepare() {
        Ok(Some(program)) => execute(&program, &plan.process, plan.filter.as_ref(), channel),
        // The shim is gone, so nobody will ever start this container.
        Ok(None) => 1,
        Err(failure) => give_up(&channel, failure),
    }
}

/// The first process while it prepares itself.
struct InitProcess<'a> {
    plan: &'a InitPlan,
    channel: &'a Channel,
    /// Its process id on the host, once the shim has told it.
    pid: Option<i32>,
}

impl InitProcess<'_> {
    /// Does everything up to the user's program; `None` when the shim went away before the start.
    fn prepare(mut self) -> Result<Option<CString>> {
        let plan = self.plan;
        let labels = self.begin()?;
        let root = self.become_root()?;
        plan.fault.reach(Step::Session)?;
        session::begin(&plan.streams, &labels)?;
        plan.fault.reach(Step::Network)?;
        if plan.namespaces.new.contains(CloneFlags::NEW_NETWORK) {
            loam_sys::bring_loopback_up().explain(|| "bringing up loopback failed".to_owned())?;
        }
        plan.fault.reach(Step::Root)?;
        let mut work = Work::begin(&plan.mounts, root, plan.namespaces.own_user())?;
        plan.fault.reach(Step::Mounts)?;
        work.mount_all()?;
        let terminal = self.furnish(&work)?;
        self.set_names_and_sysctls()?;
        self.make_working_directory(&work)?;
        // Hooks see the container complete; and the host's cgroups can't be bound from inside.
        let early = plan.runtime_hooks
            || !plan.container_hooks.is_empty()
            || (work.cgroups().is_some() && !plan.namespaces.new_cgroup);
        if early {
            self.finish_cgroups(&work)?;
        }
        self.hooks()?;
        plan.fault.reach(Step::Pivot)?;
        work.enter()?;
        session::take_own_null()?;
        self.protect(&work)?;
        if !early {
            self.finish_cgroups(&work)?;
        }
        plan.fault.reach(Step::Identity)?;
        take_on(&plan.process, &labels, plan.filter.as_ref())?;
        plan.fault.reach(Step::Lookup)?;
        let program = look_up(&plan.process)?;
        self.channel.send(&Message::Ready(terminal))?;
        self.await_start().map(|start| start.then_some(program))
    }

    /// What is best done while this process still is who the shim is.
    fn begin(&self) -> Result<LabelFiles> {
        let beginning = || "preparing the new process failed".to_owned();
        // Nobody in the container may look into this process while it holds what is the host's; and that is no more
        // than it needs.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).explain(beginning)?;
        let mut kept = vec![self.channel.descriptor()];
        kept.extend(self.plan.streams.descriptors());
        kept.extend(self.plan.mounts.descriptors());
        loam_sys::close_all_but(&kept).explain(beginning)?;
        rustix::process::umask(rustix::fs::Mode::empty());
        if self.plan.process.labels.is_empty() {
            return Ok(LabelFiles::default());
        }
        LabelFiles::open(open_host_proc()?.as_fd(), &self.plan.process.labels)
    }

    /// Opens the root file system, which root in the container need not be able to reach on the host, and becomes that
    /// root.
    fn become_root(&self) -> Result<OwnedFd> {
        let root = open_root(&self.plan.root)?;
        let namespaces = &self.plan.namespaces;
        if namespaces.new.contains(CloneFlags::NEW_USER) {
            self.expect("the mapping of ids", |message| matches!(message, Message::Mapped))?;
        }
        if namespaces.own_user() {
            become_root()?;
        }
        Ok(root)
    }

    /// Fills `/dev` if that is not done yet, and opens the terminal. Gives its master.
    fn furnish(&self, work: &Work<'_>) -> Result<Option<OwnedFd>> {
        let plan = self.plan;
        plan.fault.reach(Step::Devices)?;
        if plan.mounts.devices_missing {
            let dev = find_without_links(work.root.as_fd(), Path::new("dev"));
            let dev = match dev {
                Err(Errno::LOOP) => {
                    let message = "`/dev` of the image is a symbolic link";
                    return Err(Failure::new(ErrorKind::Denied, message));
                }
                Err(Errno::NOENT) => {
                    find_or_make(work.root.as_fd(), Path::new("/dev"), PointKind::Directory)?
                }
                other => other.explain(|| "opening `/dev` in the container failed".to_owned())?,
            };
            plan.devices.populate(dev.as_fd(), &Mappings::default(), true)?;
        }
        plan.fault.reach(Step::Terminal)?;
        let Streams::Terminal(size) = plan.streams else { return Ok(None) };
        let terminal = Terminal::open(work.root.as_fd(), size)?;
        terminal.show_as_console(work.root.as_fd())?;
        terminal.take(plan.process.user)?;
        Ok(Some(terminal.master))
    }

    fn set_names_and_sysctls(&self) -> Result<()> {
        let plan = self.plan;
        plan.fault.reach(Step::Sysctls)?;
        if plan.namespaces.has(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME) {
            if let Some(name) = &plan.host_name {
                rustix::system::sethostname(name.as_bytes())
                    .explain(|| format!("setting the host name `{name}` failed"))?;
            }
            if let Some(name) = &plan.domain_name {
                rustix::system::setdomainname(name.as_bytes())
                    .explain(|| format!("setting the domain name `{name}` failed"))?;
            }
        }
        if plan.sysctls.is_empty() {
            return Ok(());
        }
        sysctl::write(open_host_proc()?.as_fd(), &plan.sysctls)
    }

    /// Makes the working directory when it is missing. Any other trouble with it comes up when it is entered.
    fn make_working_directory(&self, work: &Work<'_>) -> Result<()> {
        self.plan.fault.reach(Step::WorkingDirectory)?;
        let directory = &self.plan.process.directory;
        if let Err(Errno::NOENT) = find(work.root.as_fd(), directory) {
            find_or_make(work.root.as_fd(), directory, PointKind::Directory)?;
        }
        Ok(())
    }

    fn hooks(&self) -> Result<()> {
        let plan = self.plan;
        plan.fault.reach(Step::ContainerHooks)?;
        if plan.runtime_hooks {
            self.channel.send(&Message::Hooks)?;
            self.expect("the end of the hooks", |message| matches!(message, Message::HooksDone))?;
        }
        plan.state.run(&plan.container_hooks, "creating", self.pid, &[])
    }

    /// Takes away what the container may not see or change.
    fn protect(&self, work: &Work<'_>) -> Result<()> {
        let plan = self.plan;
        plan.fault.reach(Step::Paths)?;
        work.finish_read_only()?;
        make_read_only(work.root.as_fd(), &plan.read_only)?;
        mask(work.root.as_fd(), &plan.masked)?;
        if plan.root_read_only {
            let change = MountChange { set: attribute::READ_ONLY, ..MountChange::default() };
            loam_sys::change_mount(work.root.as_fd(), &change)
                .explain(|| "making the root file system read-only failed".to_owned())?;
        }
        Ok(())
    }

    /// Waits until this process is in its cgroup, and makes that the root of what it sees.
    fn finish_cgroups(&mut self, work: &Work<'_>) -> Result<()> {
        let hierarchies = self.await_cgroup()?;
        let plan = self.plan;
        plan.fault.reach(Step::CgroupMounts)?;
        if plan.namespaces.new_cgroup {
            loam_sys::unshare_cgroup().explain(|| "making a cgroup namespace failed".to_owned())?;
        }
        match work.cgroups() {
            Some((target, options)) => {
                mount_cgroups(target, options, &hierarchies, plan.namespaces.new_cgroup)
            }
            None => Ok(()),
        }
    }

    fn await_cgroup(&mut self) -> Result<Vec<CgroupMount>> {
        match self.channel.receive()? {
            Some(Message::Joined { pid, mounts }) => {
                self.pid = Some(pid);
                Ok(mounts)
            }
            _ => Err(deserted("the cgroup")),
        }
    }

    fn await_start(&self) -> Result<bool> {
        match self.channel.receive()? {
            Some(Message::Start) => {}
            None => return Ok(false),
            _ => return Err(deserted("the start")),
        }
        let plan = self.plan;
        plan.fault.reach(Step::Start)?;
        plan.state.run(&plan.start_hooks, "created", self.pid, &plan.environment)?;
        Ok(true)
    }

    fn expect(&self, what: &str, is_it: impl Fn(&Message) -> bool) -> Result<()> {
        match self.channel.receive()? {
            Some(message) if is_it(&message) => Ok(()),
            _ => Err(deserted(what)),
        }
    }
}

fn deserted(what: &str) -> Failure {
    Failure::new(ErrorKind::Internal, format!("the shim went away before {what}"))
}
