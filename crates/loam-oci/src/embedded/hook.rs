//! Hooks: programs that the configuration names, run at given points (runtime specification, config.md, "POSIX-platform
//! Hooks").

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loam_model::oci_spec::runtime::Hook;
use loam_model::{ErrorKind, Failure, Result};
use loam_sys::HeldProcess;
use rustix::fs::MemfdFlags;
use rustix::process::Pid;

use super::explain::Explain;
use super::process_plan::DEFAULT_PATH;

/// What a hook is told of its container, on its standard input.
#[derive(Clone, Debug)]
pub(super) struct HookState {
    pub(super) version: String,
    pub(super) id: String,
    pub(super) bundle: String,
    pub(super) annotations: serde_json::Value,
}

impl HookState {
    fn json(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        let mut state = serde_json::json!({
            "ociVersion": self.version,
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
            "annotations": self.annotations,
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        state.to_string().into_bytes()
    }

    /// Runs hooks one after the other; the first that fails is the last that runs. `environment` is for hooks that
    /// have none of their own.
    pub(super) fn run(
        &self,
        hooks: &[Hook],
        status: &str,
        pid: Option<i32>,
        environment: &[String],
    ) -> Result<()> {
        if hooks.is_empty() {
            return Ok(());
        }
        let state = self.json(status, pid);
        hooks.iter().try_for_each(|hook| run_one(hook, &state, environment))
    }
}

/// How much of what a failed hook printed is told.
const MAX_OUTPUT: u64 = 1024;

fn run_one(hook: &Hook, state: &[u8], environment: &[String]) -> Result<()> {
    let path = hook.path();
    let failed = || format!("the hook `{}` failed", path.display());
    let output = rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC).explain(failed)?;
    let mut output = std::fs::File::from(output);
    let mut command = Command::new(path);
    if let Some((name, arguments)) = hook.args().as_ref().and_then(|args| args.split_first()) {
        command.arg0(name).args(arguments);
    }
    let variables = hook.env().as_deref().unwrap_or(environment).iter();
    command
        .env_clear()
        .env("PATH", DEFAULT_PATH)
        .envs(variables.filter_map(|variable| variable.split_once('=')))
        .stdin(Stdio::piped())
        .stdout(output.try_clone().explain(failed)?)
        .stderr(output.try_clone().explain(failed)?);
    let mut child = command.spawn().explain(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read; the pipe holds the state in any case, and SIGPIPE is ignored.
        stdin.write_all(state).ok();
    }
    let status = wait(&mut child, hook.timeout()).explain(failed)?;
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    let mut text = String::new();
    let length = output.seek(SeekFrom::End(0)).unwrap_or(0);
    let told = output
        .seek(SeekFrom::Start(length.saturating_sub(MAX_OUTPUT)))
        .and_then(|_| output.take(MAX_OUTPUT).read_to_string(&mut text));
    let why = status.map_or("it took too long".to_owned(), |status| status.to_string());
    let cause = if told.is_ok_and(|length| length > 0) { format!("{why}: {}", text.trim()) } else { why };
    Err(Failure::new(ErrorKind::Internal, failed()).caused_by(cause))
}

/// Waits for a hook; `None` when its time was up and it was killed.
fn wait(child: &mut Child, timeout: Option<i64>) -> std::io::Result<Option<std::process::ExitStatus>> {
    let seconds = timeout.filter(|seconds| *seconds > 0);
    if let Some(seconds) = seconds {
        let process = HeldProcess::new(Pid::from_child(child))?;
        let limit = Duration::from_secs(seconds.unsigned_abs());
        let ended = process.map_or(Ok(true), |process| process.ends_within(limit))?;
        if !ended {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
    child.wait().map(Some)
}
