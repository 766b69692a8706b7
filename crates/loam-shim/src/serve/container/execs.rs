//! The container's later processes.

use std::os::fd::OwnedFd;
use std::path::Path;

use loam_model::oci_spec::runtime::Process as ProcessSettings;
use loam_model::{ErrorKind, ExecRequest, Failure, OnStall, Result, ShimLaunch, Streams, TerminalSize};
use loam_sys::ChildSignal;
use rustix::fs::{Mode, OFlags};

use super::{Container, with_runtime};
use crate::serve::process::{Process, make_streams};

/// How many ended processes nobody asked for are remembered.
const MAX_UNASKED: usize = 1024;

/// How many streams of processes that are forgotten are emptied for those who still write to them.
const MAX_LEFT_OPEN: usize = 1024;

impl Container {
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
    pub(in crate::serve) fn forget(&mut self, id: u64) {
        let Some(process) = self.execs.remove(&id) else { return };
        self.left_open.extend(process.into_open_outputs());
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
