//! The container that the shim stays with: its runtime, mounts, processes and log.

mod creation;
mod execs;
mod relaying;
mod starting;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::{ErrorKind, ExitStatus, Failure, ProcessTarget, Result, Runtime, ShimStatus};
use loam_sys::ChildSignal;
use rustix::process::Pid;

use super::open_files::OpenFiles;
use super::process::Process;
use super::{Equipment, FinishProcess};
use crate::log::Log;
use crate::relay::Output;
use crate::rootfs::MountNamespace;
use starting::Starting;

/// `SIGKILL`.
const KILL: i32 = 9;

/// The container, from nothing to its end.
pub(super) struct Container {
    runtime: Box<dyn Runtime>,
    files: OpenFiles,
    finish_process: FinishProcess,
    mounts: Option<MountNamespace>,
    pub(super) main: Option<Process>,
    pub(super) execs: BTreeMap<u64, Process>,
    /// Further processes that do not run yet.
    starting: BTreeMap<u64, Starting>,
    last_exec: u64,
    /// Streams of ended processes that others write to: they would die of a closed pipe.
    left_open: VecDeque<Output>,
    log: Option<Log>,
    paused: bool,
    has_memory_limit: bool,
    kept: Vec<OwnedFd>,
}

impl Container {
    pub(super) fn new(equipment: Equipment, files: OpenFiles) -> Self {
        Self {
            runtime: equipment.runtime,
            files,
            finish_process: equipment.finish_process,
            mounts: None,
            main: None,
            execs: BTreeMap::new(),
            starting: BTreeMap::new(),
            last_exec: 0,
            left_open: VecDeque::new(),
            log: None,
            paused: false,
            has_memory_limit: false,
            kept: Vec::new(),
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
        with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.start())
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
            return with_runtime((&mut self.runtime, &self.files), children, |runtime| {
                runtime.signal(signal, all)
            });
        }
        process.signal(signal)
    }

    pub(super) fn pause(&mut self, children: &ChildSignal, pause: bool) -> Result<()> {
        self.check_running()?;
        with_runtime((&mut self.runtime, &self.files), children, |runtime| {
            if pause { runtime.pause() } else { runtime.resume() }
        })?;
        self.paused = pause;
        Ok(())
    }

    pub(super) fn update(&mut self, children: &ChildSignal, resources: &LinuxResources) -> Result<()> {
        self.main.as_ref().ok_or_else(not_created)?;
        self.has_memory_limit |= has_memory_limit(Some(resources));
        with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.update(resources))
    }

    pub(super) fn stats(&mut self, children: &ChildSignal) -> Result<loam_model::Stats> {
        self.main.as_ref().ok_or_else(not_created)?;
        with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.stats())
    }

    pub(super) fn reopen_log(&mut self) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::reopen)
    }

    /// Whether the kernel killed a process for lack of memory. Asked only when that may be.
    pub(super) fn out_of_memory(&mut self, children: &ChildSignal, status: ExitStatus) -> bool {
        let possible = self.has_memory_limit || status != ExitStatus::Exited(0);
        let happened = |count: Option<u64>| count.is_some_and(|count| count > 0);
        // The cgroup's own counter is certain. Without it, because systemd was faster, what is known from around the cgroup
        // is believed of a process that was killed.
        possible
            && with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.stats()).is_ok_and(
                |stats| {
                    let killed = status == ExitStatus::Signaled(KILL);
                    happened(stats.memory_events.oom_kill) || (killed && happened(stats.out_of_memory_kills))
                },
            )
    }

    /// Kills every process.
    pub(super) fn kill(&mut self, children: &ChildSignal) {
        let killed =
            with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.signal(KILL, true));
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
        with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.delete())?;
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
        } else {
            self.starting_ended(pid, status);
        }
        false
    }
}

/// Lets the runtime work, with the signal of ended children let through, and with the limit on open files that the
/// programs that it runs shall have.
fn with_runtime<T>(
    (runtime, files): (&mut Box<dyn Runtime>, &OpenFiles),
    children: &ChildSignal,
    work: impl FnOnce(&mut dyn Runtime) -> Result<T>,
) -> Result<T> {
    children.let_through(|| files.as_inherited(|| work(runtime.as_mut()))).map_err(|error| {
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
