//! Shims in memory, with their exit records in real files.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use loam_model::oci_spec::runtime::{LinuxResources, Process};
use loam_model::{
    ArchiveHold, ArchiveRequest, ContainerId, ErrorKind, ExitRecord, ExitStatus, Failure, OnStall,
    ProcessTarget, Result, Shim, ShimLaunch, ShimStatus, Stats, Streams, Supervisor, TerminalSize,
};

use super::{ShimState, State, Step, World};

/// The signal that can't be caught.
const KILL: i32 = 9;

/// Launches simulated shims in a [`World`].
#[derive(Clone, Debug)]
pub struct SimulatedSupervisor(pub Arc<World>);

/// A connection to a simulated shim.
struct Connection {
    world: Arc<World>,
    id: ContainerId,
    owner: bool,
    next_exec: u64,
}

fn cgroup(id: &ContainerId) -> String {
    format!("/loam-{id}")
}

fn gone(id: &ContainerId) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("the shim of `{}` is gone", id.short()))
}

impl Supervisor for SimulatedSupervisor {
    fn launch(&self, launch: &ShimLaunch) -> Result<Box<dyn Shim>> {
        self.0.call(Step::Launch, |state| {
            assert!(launch.directory.join("config.json").is_file(), "a shim is launched without a bundle");
            let shim = state.shims.insert(launch.id.clone(), ShimState::default());
            assert!(shim.is_none(), "a second shim for `{}`", launch.id);
            state.directories.insert(launch.id.clone(), launch.directory.clone());
            state.ended.remove(&launch.id);
            state.launches.push(launch.clone());
            Ok(())
        })?;
        Ok(self.connection(&launch.id))
    }

    fn connect(&self, id: &ContainerId) -> Result<Option<Box<dyn Shim>>> {
        let lives = self.0.call(Step::Connect, |state| Ok(state.shims.contains_key(id)))?;
        Ok(lives.then(|| self.connection(id)))
    }

    fn exit_record(&self, id: &ContainerId) -> Result<Option<ExitRecord>> {
        let directory = self.0.call(Step::ReadExit, |state| Ok(state.directories.get(id).cloned()))?;
        let text = directory.and_then(|directory| fs::read(directory.join("exit.json")).ok());
        Ok(text.map(|text| serde_json::from_slice(&text).expect("an exit record")))
    }

    fn archive_out(
        &self,
        request: &ArchiveRequest,
        _hold: Option<ArchiveHold<'_>>,
        sink: &mut (dyn Write + Send),
    ) -> Result<()> {
        self.0.call(Step::Archive, |state| {
            state.archives.push(request.clone());
            sink.write_all(b"archive")
                .map_err(|error| Failure::new(ErrorKind::Internal, "no archive").caused_by(error))
        })
    }

    fn archive_in(
        &self,
        request: &ArchiveRequest,
        _hold: Option<ArchiveHold<'_>>,
        source: &mut (dyn Read + Send),
    ) -> Result<()> {
        self.0.call(Step::Archive, |state| {
            state.archives.push(request.clone());
            std::io::copy(source, &mut std::io::sink())
                .map(drop)
                .map_err(|error| Failure::new(ErrorKind::Internal, "no archive").caused_by(error))
        })
    }
}

impl SimulatedSupervisor {
    fn connection(&self, id: &ContainerId) -> Box<dyn Shim> {
        Box::new(Connection { world: Arc::clone(&self.0), id: id.clone(), owner: false, next_exec: 1 })
    }
}

impl Connection {
    fn call<T>(&self, step: Step, effect: impl FnOnce(&mut ShimState) -> Result<T>) -> Result<T> {
        self.world.call(step, |state| match state.shims.get_mut(&self.id) {
            Some(shim) => effect(shim),
            None => Err(gone(&self.id)),
        })
    }

    /// A signal to the main process, which may end from it.
    fn deliver(&self, state: &mut State, signal: i32) -> Result<()> {
        let stubborn = state.stubborn;
        let shim = state.shims.get_mut(&self.id).ok_or_else(|| gone(&self.id))?;
        if shim.exit.is_some() {
            return Err(Failure::new(ErrorKind::Conflict, "the process has ended"));
        }
        shim.signals.push(signal);
        if signal == KILL || !stubborn && !shim.paused {
            state.end(&self.id, ExitStatus::Signaled(signal));
        }
        Ok(())
    }
}

impl Shim for Connection {
    fn own(&mut self) -> Result<()> {
        self.call(Step::Own, |shim| {
            shim.owners += 1;
            Ok(())
        })?;
        self.owner = true;
        Ok(())
    }

    fn begin_create(&mut self) -> Result<i32> {
        let result = self.world.call(Step::BeginCreate, |state| {
            state.last_pid += 1;
            let pid = state.pid.unwrap_or(i32::MAX - state.last_pid);
            state.shims.get_mut(&self.id).ok_or_else(|| gone(&self.id))?.pid = pid;
            state.cgroups.insert(cgroup(&self.id));
            Ok(pid)
        });
        if result.is_err() {
            self.world.kill_shim(&self.id);
        }
        result
    }

    fn finish_create(&mut self) -> Result<()> {
        let result = self.call(Step::FinishCreate, |shim| {
            shim.created = true;
            Ok(())
        });
        if result.is_err() {
            // It has undone everything and ends.
            self.world.lock().cgroups.remove(&cgroup(&self.id));
            self.world.kill_shim(&self.id);
        }
        result
    }

    fn keep(&mut self, descriptors: Vec<OwnedFd>) -> Result<()> {
        drop(descriptors);
        self.call(Step::Keep, |_| Ok(()))
    }

    fn start(&mut self) -> Result<()> {
        self.call(Step::Start, |shim| {
            assert!(shim.created, "a start before the creation has finished");
            shim.started = true;
            Ok(())
        })
    }

    fn exec(
        &mut self,
        process: &Process,
        user: Option<&str>,
        _terminal: Option<TerminalSize>,
        _streams: Streams,
    ) -> Result<u64> {
        self.world.call(Step::Exec, |state| {
            state.processes.push((process.clone(), user.map(str::to_owned)));
            let shim = state.shims.get_mut(&self.id).ok_or_else(|| gone(&self.id))?;
            let id = self.next_exec + shim.execs.len() as u64;
            shim.execs.insert(id, None);
            Ok(id)
        })
    }

    fn attach(&mut self, streams: Streams, _on_stall: OnStall) -> Result<()> {
        drop(streams);
        self.call(Step::AttachStreams, |_| Ok(()))
    }

    fn wait(&mut self, target: &ProcessTarget) -> Result<ExitStatus> {
        self.call(Step::Wait, |_| Ok(()))?;
        let status = self.world.wait_for(|state| {
            let shim = state.shims.get(&self.id);
            let status = match target {
                ProcessTarget::Main => state.ended.get(&self.id).copied(),
                ProcessTarget::Exec(id) => shim.and_then(|shim| shim.execs.get(id).copied().flatten()),
            };
            (status.is_some() || shim.is_none()).then_some(status)
        });
        status.ok_or_else(|| gone(&self.id))
    }

    fn wait_ended(&mut self) -> Result<ExitStatus> {
        self.wait(&ProcessTarget::Main)
    }

    fn signal(&mut self, target: &ProcessTarget, signal: i32, _all: bool) -> Result<()> {
        self.world.call(Step::Signal, |state| match target {
            ProcessTarget::Main => self.deliver(state, signal),
            ProcessTarget::Exec(id) => {
                let shim = state.shims.get_mut(&self.id).ok_or_else(|| gone(&self.id))?;
                shim.execs.insert(*id, Some(ExitStatus::Signaled(signal)));
                Ok(())
            }
        })
    }

    fn resize(&mut self, _target: &ProcessTarget, _size: TerminalSize) -> Result<()> {
        Ok(())
    }

    fn pause(&mut self) -> Result<()> {
        self.call(Step::Pause, |shim| {
            shim.paused = true;
            Ok(())
        })
    }

    fn resume(&mut self) -> Result<()> {
        self.world.call(Step::Resume, |state| {
            let stubborn = state.stubborn;
            let shim = state.shims.get_mut(&self.id).ok_or_else(|| gone(&self.id))?;
            shim.paused = false;
            // Signals that waited are delivered.
            if let Some(signal) = shim.signals.last().copied().filter(|_| !stubborn) {
                state.end(&self.id, ExitStatus::Signaled(signal));
            }
            Ok(())
        })
    }

    fn update(&mut self, _resources: &LinuxResources) -> Result<()> {
        Ok(())
    }

    fn stats(&mut self) -> Result<Stats> {
        self.call(Step::Stats, |_| Ok(Stats { pids: 1, ..Stats::default() }))
    }

    fn status(&mut self) -> Result<ShimStatus> {
        self.call(Step::Status, |shim| {
            Ok(ShimStatus {
                pid: shim.exit.is_none().then_some(shim.pid),
                started: shim.started,
                paused: shim.paused,
                exit: shim.exit.clone(),
                execs: shim.execs.iter().filter(|(_, end)| end.is_none()).map(|(id, _)| *id).collect(),
            })
        })
    }

    fn reopen_log(&mut self) -> Result<()> {
        Ok(())
    }

    fn shut_down(&mut self) -> Result<()> {
        self.world.call(Step::ShutDown, |state| {
            let Some(shim) = state.shims.get_mut(&self.id) else { return Err(gone(&self.id)) };
            // Whoever asks for this tidies up himself.
            shim.owners += 1;
            if shim.started {
                state.end(&self.id, ExitStatus::Signaled(KILL));
            }
            state.shims.remove(&self.id);
            state.cgroups.remove(&cgroup(&self.id));
            Ok(())
        })
    }

    fn kill(&mut self) -> Result<()> {
        self.world.kill_shim(&self.id);
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.owner {
            return;
        }
        let mut state = self.world.lock();
        if let Some(shim) = state.shims.get_mut(&self.id) {
            shim.owners -= 1;
            if shim.owners == 0 && shim.exit.is_some() {
                state.on_exit.push(self.id.clone());
            }
        }
    }
}
