//! What is left of the main process, and who is told.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use loam_model::{ErrorKind, ExitRecord, Failure, Result};
use rustix::process::Pid;

use crate::protocol::EXIT_RECORD_NAME;

/// Writes the exit record, beside and renamed, so that nobody reads half of it.
pub(super) fn write_record(run_directory: &Path, record: &ExitRecord) -> Result<()> {
    let path = run_directory.join(EXIT_RECORD_NAME);
    let text = serde_json::to_vec(record).map_err(io::Error::from);
    text.and_then(|text| replace_file(&path, &text)).map_err(|error| {
        Failure::new(ErrorKind::Internal, format!("`{}` can't be written", path.display())).caused_by(error)
    })
}

/// Puts new contents in a file's place at once.
pub(super) fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(contents)?;
    drop(file);
    std::fs::rename(beside, path)
}

/// The program that brings the engine's state up to date, and whether it runs.
#[derive(Debug, Default)]
pub(super) struct OnExit {
    command: Vec<String>,
    running: Option<Pid>,
}

impl OnExit {
    pub(super) fn new(command: Vec<String>) -> Self {
        Self { command, running: None }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts the program. It inherits nothing of ours; when it can't be run, the engine finds the exit record later.
    pub(super) fn spawn(&mut self) {
        let [program, arguments @ ..] = self.command.as_slice() else { return };
        let spawned = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let pid = spawned.ok().and_then(|child| i32::try_from(child.id()).ok());
        self.running = pid.and_then(Pid::from_raw);
    }

    /// Notes that a child has ended.
    pub(super) fn child_ended(&mut self, pid: Pid) {
        if self.running == Some(pid) {
            self.running = None;
        }
    }
}
