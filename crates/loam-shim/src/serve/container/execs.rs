//! The container's later processes.

use std::os::fd::OwnedFd;
use std::path::Path;

use loam_model::oci_spec::runtime::Process as ProcessSettings;
use loam_model::{
    BegunProcess, CreatedProcess, ErrorKind, ExecRequest, Failure, OnStall, Result, ShimLaunch, Streams,
    TerminalSize,
};
use loam_sys::ChildSignal;
use rustix::fs::{Mode, OFlags};

use super::starting::Starting;
use super::{Container, with_runtime};
use crate::relay::Output;
use crate::serve::process::{Process, StreamEnds, make_streams};

/// How many ended processes nobody asked for are remembered.
const MAX_UNASKED: usize = 1024;

/// How many streams of ended processes are emptied for those who still write to them. When there are more, the oldest is
/// closed, and whoever writes to it is told so by the kernel, as with any closed pipe.
const MAX_LEFT_OPEN: usize = 128;

impl Container {
    /// Begins a further process; [`begun`](Self::begun) tells when it runs.
    pub(in crate::serve) fn exec(
        &mut self,
        launch: &ShimLaunch,
        children: &ChildSignal,
        mut settings: ProcessSettings,
        (user, terminal): (Option<String>, Option<TerminalSize>),
        streams: Streams,
    ) -> Result<u64> {
        self.check_running()?;
        if self.paused {
            return Err(Failure::new(ErrorKind::Conflict, "the container is paused").hint("resume it first"));
        }
        let root = open_root(&launch.directory)?;
        let user = user.or_else(|| launch.user.clone());
        (self.finish_process)(&root, user.as_deref(), &mut settings)?;
        drop(root);
        let (stdio, ends) = make_streams(terminal, streams.stdin.is_some())?;
        self.files.hand_down(&mut settings);
        let request = ExecRequest { process: &settings, stdio };
        let begun =
            with_runtime((&mut self.runtime, &self.files), children, |runtime| runtime.begin_exec(request))?;
        self.last_exec += 1;
        let id = self.last_exec;
        match begun {
            BegunProcess::Runs(created) => self.runs(id, created, ends, streams)?,
            BegunProcess::Starts(process) => {
                self.starting.insert(id, Starting::new(process, ends, streams));
            }
        }
        self.forget_unasked();
        Ok(id)
    }

    /// Takes a further process in that runs now.
    pub(super) fn runs(
        &mut self,
        id: u64,
        created: CreatedProcess,
        ends: StreamEnds,
        streams: Streams,
    ) -> Result<()> {
        let mut process = Process::new(created, ends, true)?;
        process.attach(streams, OnStall::Block);
        self.execs.insert(id, process);
        Ok(())
    }

    fn forget_unasked(&mut self) {
        let ended: Vec<u64> =
            self.execs.iter().filter(|(_, process)| process.outcome().is_some()).map(|(id, _)| *id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(MAX_UNASKED)) {
            self.forget(*id);
        }
    }

    /// Forgets a later process that has ended and was heard out.
    pub(in crate::serve) fn forget(&mut self, id: u64) {
        if let Some(mut process) = self.execs.remove(&id) {
            self.leave_open(process.let_go());
        }
    }

    /// Keeps of later processes that have ended and were heard out only how they ended.
    pub(super) fn let_go_of_ended(&mut self) {
        let left: Vec<Output> = self.execs.values_mut().flat_map(Process::let_go).collect();
        self.leave_open(left);
    }

    fn leave_open(&mut self, outputs: Vec<Output>) {
        self.left_open.extend(outputs);
        while self.left_open.len() > MAX_LEFT_OPEN {
            self.left_open.pop_front();
        }
    }
}

fn open_root(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory.join("rootfs"), flags, Mode::empty()).map_err(|errno| {
        Failure::new(ErrorKind::Internal, "the root file system can't be opened").caused_by(errno)
    })
}
