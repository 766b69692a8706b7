//! Calling a networker; see the module above for the file that stands for a call.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use loam_cni::delegate::{Limits, MAX_OUTPUT, run_reading};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::Value;

use super::Networker;
use super::error::{NetworkerError, end};

/// How soon a call that somebody has left is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// The calls of all networkers.
#[derive(Debug)]
pub(crate) struct Calls {
    directory: PathBuf,
    /// How long one may take.
    limit: Duration,
}

/// For whom a call is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) container: &'a str,
    pub(crate) interface: &'a str,
    /// The name by which the networker knows the container.
    pub(crate) handle: &'a str,
}

impl Calls {
    pub(crate) fn new(cache_dir: &Path, limit: Duration) -> Self {
        Self { directory: cache_dir.join("calls"), limit }
    }

    /// Has a networker do something; gives what it gave, `None` when that was nothing. The caller has the container's
    /// attachment locked, so that nobody else calls for it.
    pub(crate) fn call(
        &self,
        networker: &Networker,
        caller: Caller<'_>,
        action: &'static str,
        input: &Value,
    ) -> Result<Option<Value>, NetworkerError> {
        let path = self.directory.join(format!("{}-{}", caller.container, caller.interface));
        let prepare = |cause| NetworkerError::Prepare(path.clone(), cause);
        let file = self.open(&path).and_then(|file| write(file, input)).map_err(prepare)?;
        let mut program = Command::new(&networker.program);
        program.args(&networker.arguments).args(["--action", action, "--handle", caller.handle]);
        let output = run_reading(program, file, Limits { time: self.limit, output: MAX_OUTPUT });
        fs::remove_file(&path).map_err(prepare)?;
        let output = output.map_err(NetworkerError::Run)?;
        if !output.status.success() {
            return Err(NetworkerError::failed(action, &output));
        }
        if !output.stderr.is_empty() {
            let said = end(&output.stderr);
            tracing::info!(action, program = %networker.program.display(), said, "the external networker");
        }
        if output.stdout.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&output.stdout).map(Some).map_err(|cause| NetworkerError::Json(action, cause))
    }

    /// Opens and locks a call's file. One that a program still has, whose caller was killed, is waited for as long as the
    /// program would have had.
    fn open(&self, path: &Path) -> io::Result<File> {
        let deadline = Instant::now() + self.limit;
        loop {
            let opened =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
            let file = match opened {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
                    continue;
                }
                file => file?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if file.metadata()?.nlink() > 0 => return Ok(file),
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => fs::remove_file(path)?,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn write(mut file: File, input: &Value) -> io::Result<File> {
    file.set_len(0)?;
    file.write_all(input.to_string().as_bytes())?;
    file.rewind()?;
    Ok(file)
}
