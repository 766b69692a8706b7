//! Waiting for more of a log: inotify(7) on its directory, and a pidfd of the container's main process.

use std::os::fd::OwnedFd;
use std::path::Path;

use loam_model::{ContainerId, ProcessTarget, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::Timespec;

use crate::Engine;
use crate::directories::failure;
use crate::record::{MainProcess, Record};
use crate::settle::surely_lives;

/// How often a process is looked at where the kernel gives no descriptor of it.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Tells when a log may have grown, and when it is complete.
#[derive(Debug)]
pub(super) struct Follow {
    engine: Engine,
    id: ContainerId,
    changes: OwnedFd,
    process: Option<Watched>,
    complete: bool,
}

impl Follow {
    /// Begins to watch the log of a running container.
    pub(super) fn begin(engine: &Engine, record: &Record, log: &Path) -> Result<Self> {
        let directory = log.parent().unwrap_or(Path::new("/"));
        let watch = || -> rustix::io::Result<OwnedFd> {
            let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let events =
                WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
            inotify::add_watch(&changes, directory, events)?;
            Ok(changes)
        };
        let changes = watch().map_err(|errno| failure(directory, "can't be watched", errno.into()))?;
        Ok(Self {
            engine: engine.clone(),
            id: record.id.clone(),
            changes,
            process: open_process(record),
            complete: false,
        })
    }

    /// Waits until the log may have grown; `false` when it is complete.
    pub(super) fn wait(&mut self) -> Result<bool> {
        if self.complete {
            return Ok(false);
        }
        let Some(process) = &self.process else { return self.wait_for_end() };
        let mut descriptors = vec![PollFd::new(&self.changes, PollFlags::IN)];
        let limit = match process {
            Watched::Descriptor(descriptor) => {
                descriptors.push(PollFd::new(descriptor, PollFlags::IN));
                None
            }
            Watched::Number(_) => Some(&LOOK),
        };
        match poll(&mut descriptors, limit) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failure(Path::new("/proc"), "can't be polled", errno.into())),
        }
        let has_ended = match process {
            Watched::Descriptor(_) => !descriptors[1].revents().is_empty(),
            Watched::Number(process) => !surely_lives(process),
        };
        if has_ended {
            return self.wait_for_end();
        }
        self.drain();
        Ok(true)
    }

    /// The main process has ended: what it wrote is in the log as soon as the shim says so.
    fn wait_for_end(&mut self) -> Result<bool> {
        if let Some(mut shim) = self.engine.core.seams.supervisor.connect(&self.id)?
            && let Err(error) = shim.wait(&ProcessTarget::Main)
        {
            tracing::debug!(container = %self.id, error = %error.chain(), "the shim ended first");
        }
        self.complete = true;
        Ok(true)
    }

    /// Takes the events, of which only that they came counts.
    fn drain(&self) {
        let mut events = [0; 4096];
        while rustix::io::read(&self.changes, &mut events).is_ok_and(|length| length > 0) {}
    }
}

/// The main process, by a descriptor, or by its id where the kernel gives none.
#[derive(Debug)]
enum Watched {
    Descriptor(OwnedFd),
    Number(MainProcess),
}

/// Opens the main process, unless it has ended.
fn open_process(record: &Record) -> Option<Watched> {
    let process = record.process?;
    let watched = match loam_sys::open_process(Pid::from_raw(process.pid)?) {
        Ok(descriptor) => Watched::Descriptor(descriptor),
        Err(Errno::NOSYS) => Watched::Number(process),
        Err(_) => return None,
    };
    surely_lives(&process).then_some(watched)
}
