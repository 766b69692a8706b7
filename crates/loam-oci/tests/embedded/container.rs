//! Containers made from bundles, and their processes.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use loam_model::oci_spec::runtime::{Process, Spec};
use loam_model::{CreatedProcess, ExecRequest, ProcessStdio, Result, Runtime, TerminalSize};
use loam_oci::EmbeddedRuntime;
use rustix::process::{WaitId, WaitIdOptions};
use serde_json::{Value, json};

use crate::bundle::Bundle;

/// A created container.
pub(crate) struct Container<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) spec: Spec,
    pub(crate) runtime: EmbeddedRuntime,
    pub(crate) process: Handle,
}

impl Container<'_> {
    pub(crate) fn start(&mut self) {
        self.runtime.start().unwrap();
    }

    /// Runs a further process to its end.
    pub(crate) fn exec(&mut self, change: impl FnOnce(&mut Value)) -> Result<Outcome> {
        Ok(self.spawn(false, change)?.finish())
    }

    /// Runs a further process: the main one's configuration, with changes.
    pub(crate) fn spawn(&mut self, terminal: bool, change: impl FnOnce(&mut Value)) -> Result<Handle> {
        let mut process = serde_json::to_value(self.spec.process().as_ref().unwrap()).unwrap();
        process["terminal"] = json!(terminal);
        change(&mut process);
        let process: Process = serde_json::from_value(process).unwrap();
        let (stdio, output) = stdio(terminal);
        let process = self.runtime.exec(ExecRequest { process: &process, stdio })?;
        Ok(Handle { process, output })
    }

    /// Kills and deletes the container, and checks that nothing is left.
    pub(crate) fn delete(mut self) {
        self.runtime.signal(9, false).ok();
        self.process.reap();
        self.runtime.delete().unwrap();
        self.runtime.delete().unwrap();
        self.bundle.check_gone();
    }
}

/// A process that runs.
pub(crate) struct Handle {
    pub(crate) process: CreatedProcess,
    pub(crate) output: Option<(File, File)>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its code, or 128 and its signal.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Handle {
    /// Reads all that the process prints, and waits for its end.
    pub(crate) fn finish(&mut self) -> Outcome {
        let (mut out, mut err) = (String::new(), String::new());
        match (&mut self.output, &self.process.terminal) {
            (Some((stdout, stderr)), _) => {
                stdout.read_to_string(&mut out).unwrap();
                stderr.read_to_string(&mut err).unwrap();
            }
            (None, Some(terminal)) => {
                let mut bytes = Vec::new();
                // A terminal that nobody has open any more fails with EIO.
                File::from(terminal.try_clone().unwrap()).read_to_end(&mut bytes).ok();
                out = String::from_utf8(bytes).unwrap().replace('\r', "");
            }
            (None, None) => {}
        }
        Outcome { code: self.reap().expect("a process ends once"), out, err }
    }

    /// Reads from the process's output until it has printed this line.
    pub(crate) fn wait_for_line(&mut self, line: &str) {
        self.read_to_line(line);
    }

    /// The same, and gives all that was read.
    pub(crate) fn read_to_line(&mut self, line: &str) -> String {
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with(&format!("{line}\n")) {
            let (stdout, _) = self.output.as_mut().expect("there is no terminal");
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{line} was not printed: {text}");
            text.push(byte[0].into());
        }
        text
    }

    /// Waits for the end; `None` when that was done before.
    pub(crate) fn reap(&self) -> Option<i32> {
        let pidfd = self.process.pidfd.as_fd();
        let status = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).ok()??;
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    }
}

/// A line of `/proc/PID/status`.
pub(crate) fn status_of(pid: i32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
    line.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
}

pub(crate) fn stdio(terminal: bool) -> (ProcessStdio, Option<(File, File)>) {
    if terminal {
        return (ProcessStdio::Terminal(TerminalSize { rows: 24, columns: 80 }), None);
    }
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let ((out, stdout), (err, stderr)) = (pipe(), pipe());
    let stdin: OwnedFd = File::open("/dev/null").unwrap().into();
    (ProcessStdio::Descriptors { stdin, stdout, stderr }, Some((File::from(out), File::from(err))))
}
