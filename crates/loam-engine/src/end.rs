//! Watching for the end of a container's main process.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use loam_model::{ErrorKind, ExitStatus, Failure, ProcessTarget, Result, Shim};

/// How long the output of a process that has ended may be on its way before the container is tidied up: a client that
/// does not read holds nobody else up for longer.
const HEARING_LIMIT: Duration = Duration::from_secs(2);

/// After the end: gives the output a moment to arrive, on a connection that nobody needs any more.
pub(crate) fn hear_out(mut shim: Box<dyn Shim>) -> Result<()> {
    let (sender, heard) = mpsc::channel();
    start_thread(move || {
        let _given_up = sender.send(shim.wait(&ProcessTarget::Main));
    })?;
    if let Err(RecvTimeoutError::Timeout) = heard.recv_timeout(HEARING_LIMIT) {
        tracing::debug!("a client does not take the output of a container that has ended");
    }
    Ok(())
}

fn start_thread(body: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name("loam-end".to_owned()).spawn(body);
    started
        .map(drop)
        .map_err(|error| Failure::new(ErrorKind::Exhausted, "a thread can't be started").caused_by(error))
}

/// Waits on a connection, so that others can go on meanwhile.
pub(crate) struct EndWatch {
    /// Tells of the end, then of the end with all output handed on.
    told: Receiver<Result<ExitStatus>>,
}

impl EndWatch {
    pub(crate) fn begin(mut shim: Box<dyn Shim>) -> Result<Self> {
        let (sender, told) = mpsc::channel();
        start_thread(move || {
            let ended = shim.wait_ended();
            let hears_out = ended.is_ok();
            if sender.send(ended).is_ok() && hears_out {
                let _given_up = sender.send(shim.wait(&ProcessTarget::Main));
            }
        })?;
        Ok(Self { told })
    }

    /// Waits no longer than this for the end; `None` when it has not come.
    pub(crate) fn end_within(&self, limit: Duration) -> Option<Result<ExitStatus>> {
        match self.told.recv_timeout(limit) {
            Ok(end) => Some(end),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(died())),
        }
    }

    /// After the end: gives the output a moment to arrive.
    pub(crate) fn hear_out(self) {
        if let Err(RecvTimeoutError::Timeout) = self.told.recv_timeout(HEARING_LIMIT) {
            tracing::debug!("a client does not take the output of a container that has ended");
        }
    }
}

fn died() -> Failure {
    Failure::new(ErrorKind::Internal, "the thread that waits for a container died")
}
