//! The container that the shim stays with: its runtime, mounts, processes and log.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use loam_model::oci_spec::runtime::{LinuxResources, Process as ProcessSettings};
use loam_model::{
    CreateRequest, ErrorKind, ExecRequest, ExitStatus, Failure, OnStall, ProcessTarget, Result, Runtime,
    RuntimeChoice, ShimLaunch, ShimStatus, Streams, TerminalSize,
};
use loam_sys::ChildSignal;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::process::{Process, make_streams};
use super::{Equipment, FinishProcess, config};
use crate::log::Log;
use crate::relay::{Buffer, Output};
use crate::rootfs::{self, IdMaps, MountNamespace};

/// `SIGKILL`.
const KILL: i32 = 9;

/// How many ended processes nobody asked for are remembered.
const MAX_UNASKED: usize = 1024;

/// How many streams of processes that are forgotten are emptied for those who still write to them.
const MAX_LEFT_OPEN: usize = 1024;

/// The container, from nothing to its end.
pub(super) struct Container {
    runtime: Box<dyn Runtime>,
    finish_process: FinishProcess,
    mounts: Option<MountNamespace>,
    pub(super) main: Option<Process>,
    pub(super) execs: BTreeMap<u64, Process>,
    last_exec: u64,
    /// Streams of ended processes that others write to: they would die of a closed pipe.
    left_open: VecDeque<Output>,
    log: Option<Log>,
    paused: bool,
    has_memory_limit: bool,
    kept: Vec<OwnedFd>,
}

impl Container {
    pub(super) fn new(equipment: Equipment) -> Self {
        Self {
            runtime: equipment.runtime,
            finish_process: equipment.finish_process,
            mounts: None,
            main: None,
            execs: BTreeMap::new(),
            last_exec: 0,
            left_open: VecDeque::new(),
            log: None,
            paused: false,
            has_memory_limit: false,
            kept: Vec::new(),
        }
    }

    /// Mounts and creates; `announce` gets the process id as soon as the namespaces exist. Undoes all on failure.
    pub(super) fn create(
        &mut self,
        launch: &ShimLaunch,
        children: &ChildSignal,
        announce: &mut dyn FnMut(i32),
    ) -> Result<()> {
        let result = self.try_create(launch, children, announce);
        if result.is_err() {
            self.leave_mounts()?;
        }
        loam_sys::release_free_memory();
        result
    }

    fn try_create(
        &mut self,
        launch: &ShimLaunch,
        children: &ChildSignal,
        announce: &mut dyn FnMut(i32),
    ) -> Result<()> {
        self.log = launch.log.as_deref().map(Log::open).transpose()?;
        let root = self.mount(launch)?;
        let mut spec = config::read(&launch.directory)?;
        if let Some(process) = spec.process_mut() {
            (self.finish_process)(&root, launch.user.as_deref(), process)?;
        }
        drop(root);
        if launch.runtime != RuntimeChoice::Embedded {
            // Another program reads the file.
            config::write(&launch.directory, &spec)?;
        }
        self.has_memory_limit =
            has_memory_limit(spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()));
        let (stdio, ends) = make_streams(launch.terminal, launch.open_stdin)?;
        let request = CreateRequest { id: &launch.id, bundle: &launch.directory, spec: &spec, stdio };
        let created = with_runtime(&mut self.runtime, children, |runtime| runtime.create(request, announce))?;
        self.main = Some(Process::new(created, ends, false)?);
        Ok(())
    }

    fn mount(&mut self, launch: &ShimLaunch) -> Result<OwnedFd> {
        self.mounts = Some(MountNamespace::enter(&launch.directory)?);
        let mut maps = IdMaps::default();
        let target = launch.directory.join("rootfs");
        make_directory(&target)?;
        let root = rootfs::mount_root(&launch.rootfs, &mut maps, &target)?;
        if launch.rootfs.upper.is_some() {
            rootfs::make_standard_directories(&root, launch.rootfs.mapping.as_ref())?;
        }
        for preparation in &launch.preparations {
            rootfs::prepare(preparation, &launch.directory, &mut maps)?;
        }
        Ok(root)
    }

    /// Leaves the mount namespace, with which all mounts vanish.
    pub(super) fn leave_mounts(&mut self) -> Result<()> {
        self.mounts.take().map_or(Ok(()), |mounts| mounts.leave())
    }

    /// Does something in the host's mount namespace.
    pub(super) fn on_host<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        match &self.mounts {
            Some(mounts) => mounts.on_host(work),
            None => Ok(work()),
        }
    }

    pub(super) fn start(&mut self, children: &ChildSignal) -> Result<()> {
        let main = self.main.as_mut().ok_or_else(not_created)?;
        if main.started {
            return Err(Failure::new(ErrorKind::Conflict, "the container was started already"));
        }
        if main.exit.is_some() {
            return Err(Failure::new(ErrorKind::Conflict, "the container's process ended before the start"));
        }
        // From now on there is output, also from a program that fails at once.
        main.started = true;
        with_runtime(&mut self.runtime, children, |runtime| runtime.start())
    }

    pub(super) fn exec(
        &mut self,
        launch: &ShimLaunch,
        children: &ChildSignal,
        mut settings: ProcessSettings,
        wish: (Option<String>, Option<TerminalSize>),
        streams: Streams,
    ) -> Result<u64> {
        self.check_running()?;
        if self.paused {
            return Err(Failure::new(ErrorKind::Conflict, "the container is paused").hint("resume it first"));
        }
        let (user, terminal) = wish;
        let root = open_root(&launch.directory)?;
        let user = user.or_else(|| launch.user.clone());
        (self.finish_process)(&root, user.as_deref(), &mut settings)?;
        drop(root);
        let (stdio, ends) = make_streams(terminal, streams.stdin.is_some())?;
        let request = ExecRequest { process: &settings, stdio };
        let created = with_runtime(&mut self.runtime, children, |runtime| runtime.exec(request))?;
        let mut process = Process::new(created, ends, true)?;
        process.attach(streams, OnStall::Block);
        self.last_exec += 1;
        self.execs.insert(self.last_exec, process);
        self.forget_unasked();
        Ok(self.last_exec)
    }

    fn forget_unasked(&mut self) {
        let ended: Vec<u64> =
            self.execs.iter().filter(|(_, process)| process.outcome().is_some()).map(|(id, _)| *id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(MAX_UNASKED)) {
            self.forget(*id);
        }
    }

    /// Forgets a later process that has ended and was heard out.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(process) = self.execs.remove(&id) else { return };
        self.left_open.extend(process.into_open_outputs());
        while self.left_open.len() > MAX_LEFT_OPEN {
            self.left_open.pop_front();
        }
    }

    fn check_running(&self) -> Result<()> {
        let main = self.main.as_ref().ok_or_else(not_created)?;
        if !main.started {
            return Err(Failure::new(ErrorKind::Conflict, "the container has not been started"));
        }
        if main.exit.is_some() {
            return Err(Failure::new(ErrorKind::Conflict, "the container is not running"));
        }
        Ok(())
    }

    pub(super) fn process(&mut self, target: &ProcessTarget) -> Result<&mut Process> {
        match target {
            ProcessTarget::Main => self.main.as_mut().ok_or_else(not_created),
            ProcessTarget::Exec(id) => self.execs.get_mut(id).ok_or_else(|| {
                Failure::new(ErrorKind::NotFound, format!("process `{id}` of the container does not exist"))
            }),
        }
    }

    pub(super) fn signal(
        &mut self,
        children: &ChildSignal,
        target: &ProcessTarget,
        signal: i32,
        all: bool,
    ) -> Result<()> {
        let process = self.process(target)?;
        if process.exit.is_some() && (!all || *target == ProcessTarget::Main) {
            return Err(Failure::new(ErrorKind::Conflict, "the process has ended already"));
        }
        if *target == ProcessTarget::Main || all {
            return with_runtime(&mut self.runtime, children, |runtime| runtime.signal(signal, all));
        }
        process.signal(signal)
    }

    pub(super) fn pause(&mut self, children: &ChildSignal, pause: bool) -> Result<()> {
        self.check_running()?;
        with_runtime(
            &mut self.runtime,
            children,
            |runtime| {
                if pause { runtime.pause() } else { runtime.resume() }
            },
        )?;
        self.paused = pause;
        Ok(())
    }

    pub(super) fn update(&mut self, children: &ChildSignal, resources: &LinuxResources) -> Result<()> {
        self.main.as_ref().ok_or_else(not_created)?;
        self.has_memory_limit |= has_memory_limit(Some(resources));
        with_runtime(&mut self.runtime, children, |runtime| runtime.update(resources))
    }

    pub(super) fn stats(&mut self, children: &ChildSignal) -> Result<loam_model::Stats> {
        self.main.as_ref().ok_or_else(not_created)?;
        with_runtime(&mut self.runtime, children, |runtime| runtime.stats())
    }

    pub(super) fn reopen_log(&mut self) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::reopen)
    }

    /// Whether the kernel killed a process for lack of memory. Asked only when that may be.
    pub(super) fn out_of_memory(&mut self, children: &ChildSignal, status: ExitStatus) -> bool {
        let possible = self.has_memory_limit || status != ExitStatus::Exited(0);
        possible
            && with_runtime(&mut self.runtime, children, |runtime| runtime.stats())
                .is_ok_and(|stats| stats.out_of_memory_kills.is_some_and(|kills| kills > 0))
    }

    /// Kills every process.
    pub(super) fn kill(&mut self, children: &ChildSignal) {
        let killed = with_runtime(&mut self.runtime, children, |runtime| runtime.signal(KILL, true));
        if killed.is_err()
            && let Some(main) = &self.main
        {
            // Perhaps it has just ended; what else there is, deleting finds.
            match main.signal(KILL) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Whether no process of ours is left.
    pub(super) fn has_ended(&self) -> bool {
        self.main.iter().chain(self.execs.values()).all(|process| process.exit.is_some())
    }

    /// Kills what is left and removes what the runtime made.
    pub(super) fn delete(&mut self, children: &ChildSignal) -> Result<()> {
        with_runtime(&mut self.runtime, children, |runtime| runtime.delete())?;
        self.kept.clear();
        Ok(())
    }

    pub(super) fn keep(&mut self, descriptors: Vec<OwnedFd>) {
        self.kept.extend(descriptors);
    }

    pub(super) fn status(&self, exit: Option<loam_model::ExitRecord>) -> ShimStatus {
        let alive = self.main.as_ref().filter(|main| main.exit.is_none());
        let running = self.execs.iter().filter(|(_, process)| process.exit.is_none());
        ShimStatus {
            pid: alive.map(Process::pid),
            started: self.main.as_ref().is_some_and(|main| main.started),
            paused: self.paused && alive.is_some(),
            exit,
            execs: running.map(|(id, _)| *id).collect(),
        }
    }

    /// Notes that a child has ended; true when it was the main process.
    pub(super) fn child_ended(&mut self, pid: Pid, status: ExitStatus) -> bool {
        if let Some(main) = self.main.as_mut().filter(|main| main.is(pid)) {
            main.ended(status);
            return true;
        }
        if let Some(process) = self.execs.values_mut().find(|process| process.is(pid)) {
            process.ended(status);
        }
        false
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.main.iter_mut().chain(self.execs.values_mut())
    }

    pub(super) fn interest<'a>(&'a self, polls: &mut Vec<PollFd<'a>>) {
        for process in self.main.iter().chain(self.execs.values()) {
            process.interest(polls);
        }
        for output in &self.left_open {
            output.interest(true, polls);
        }
    }

    /// Whether there is something to do at once, without a poll.
    pub(super) fn has_work(&self) -> bool {
        self.main.iter().chain(self.execs.values()).any(Process::has_work)
    }

    pub(super) fn polled(&mut self, events: &mut impl Iterator<Item = PollFlags>) {
        self.processes().for_each(|process| process.polled(events));
        for output in &mut self.left_open {
            output.polled(true, events);
        }
    }

    pub(super) fn work(&mut self, buffer: &mut Buffer) {
        let Self { main, execs, log, .. } = self;
        if let Some(main) = main {
            main.work(buffer, log);
        }
        // Only the main process's output is logged.
        for process in execs.values_mut() {
            process.work(buffer, &mut None);
        }
        self.left_open.retain_mut(|output| {
            output.work(true, buffer, &mut None);
            output.is_open()
        });
    }

    pub(super) fn drop_stalled(&mut self, now: Instant) -> Option<Instant> {
        self.processes().filter_map(|process| process.drop_stalled(now)).min()
    }

    pub(super) fn release_memory(&mut self) {
        if let Some(log) = &mut self.log {
            log.release();
        }
    }
}

/// Lets the runtime work, with the signal of ended children let through.
fn with_runtime<T>(
    runtime: &mut Box<dyn Runtime>,
    children: &ChildSignal,
    work: impl FnOnce(&mut dyn Runtime) -> Result<T>,
) -> Result<T> {
    children.let_through(|| work(runtime.as_mut())).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the signal mask can't be changed").caused_by(error)
    })?
}

fn not_created() -> Failure {
    Failure::new(ErrorKind::Conflict, "the container has not been created")
}

fn has_memory_limit(resources: Option<&LinuxResources>) -> bool {
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    memory.and_then(loam_model::oci_spec::runtime::LinuxMemory::limit).is_some_and(|limit| limit > 0)
}

fn make_directory(path: &Path) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => {
            let message = format!("`{}` can't be made", path.display());
            Err(Failure::new(rootfs::kind_of(errno), message).caused_by(errno))
        }
    }
}

fn open_root(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory.join("rootfs"), flags, Mode::empty()).map_err(|errno| {
        Failure::new(ErrorKind::Internal, "the root file system can't be opened").caused_by(errno)
    })
}
