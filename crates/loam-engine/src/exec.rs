//! Further processes in a running container, and control over all of them.

use std::fmt;
use std::fs::File;
use std::io::Read;

use loam_model::oci_spec::runtime::Spec;
use loam_model::{
    ContainerId, ErrorKind, ExitStatus, Failure, ProcessSpec, ProcessTarget, Result, Shim, Streams,
    TerminalSize,
};

use crate::directories::failure;
use crate::engine::Core;
use crate::record::Record;
use crate::wait::not_running;
use crate::{ContainerState, Engine};

/// More than any configuration that the engine writes.
const CONFIG_LIMIT: u64 = 16 * 1024 * 1024;

/// A further process that runs.
pub struct RunningExec {
    engine: Engine,
    shim: Box<dyn Shim>,
    record: Record,
    id: u64,
}

impl RunningExec {
    /// Its id among the further processes of its container.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The container.
    pub fn container(&self) -> &ContainerId {
        &self.record.id
    }

    /// The process as [`Control`] names it.
    pub fn target(&self) -> ProcessTarget {
        ProcessTarget::Exec(self.id)
    }

    /// Waits until it has ended and all its output has come. That its container has ended, with its shim, before the shim
    /// could tell is [`ErrorKind::Conflict`].
    pub fn wait(mut self) -> Result<ExitStatus> {
        let ended = self.shim.wait(&ProcessTarget::Exec(self.id));
        self.engine.answered(&self.record, ended)
    }
}

impl fmt::Debug for RunningExec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunningExec").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Signals and terminal sizes for the processes of a container, over a connection of its own.
pub struct Control {
    shim: Box<dyn Shim>,
}

impl Control {
    /// Sends a signal to one process.
    pub fn signal(&mut self, target: &ProcessTarget, signal: i32) -> Result<()> {
        self.shim.signal(target, signal, false)
    }

    /// Tells the terminal of a process its size.
    pub fn resize(&mut self, target: &ProcessTarget, size: TerminalSize) -> Result<()> {
        self.shim.resize(target, size)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Engine {
    /// Runs a further process in a running container. A program that does not exist is
    /// [`ErrorKind::CommandNotFound`], one that can't be executed [`ErrorKind::CommandNotExecutable`].
    pub fn exec(
        &self,
        name: &str,
        process: &ProcessSpec,
        size: Option<TerminalSize>,
        streams: Streams,
    ) -> Result<RunningExec> {
        let (record, mut shim) = self.connect_live(name)?;
        if record.state == ContainerState::Paused {
            let message = format!("container `{}` is paused", record.name);
            return Err(Failure::new(ErrorKind::Conflict, message).hint("unpause it first"));
        }
        // Made anew from what is written down, not read from the run directory: a file that was edited meanwhile gives
        // a further process no other rights than the main one has.
        let config = self.core.dry_bundle(&record)?.config;
        let user = process.user.as_ref().or(record.spec.user.as_ref()).or(record.image_config.user.as_ref());
        let user = user.filter(|user| !user.is_empty()).cloned();
        let process = ProcessSpec { user, ..process.clone() };
        let oci = self.core.seams.bundler.process(&config, &process)?;
        let terminal = process.terminal.then(|| size.unwrap_or_default());
        let begun = match shim.exec(&oci, process.user.as_deref(), terminal, streams) {
            // It is paused, or ended meanwhile.
            Err(error)
                if error.kind() == ErrorKind::Conflict && !shim.status().is_ok_and(|now| now.paused) =>
            {
                return Err(not_running(&record));
            }
            begun => begun,
        };
        let id = self.answered(&record, begun)?;
        Ok(RunningExec { engine: self.clone(), shim, record, id })
    }

    /// Opens a connection to signal and resize the processes of a running container.
    pub fn control(&self, name: &str) -> Result<Control> {
        Ok(Control { shim: self.connect_live(name)?.1 })
    }
}

impl Core {
    /// The configuration that a running container was made from.
    pub(crate) fn running_config(&self, id: &ContainerId) -> Result<Spec> {
        let path = self.directories.run(id).join("config.json");
        let read = || -> std::io::Result<Spec> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(CONFIG_LIMIT).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        read().map_err(|error| failure(&path, "can't be read", error))
    }
}
