//! Calling other plugins: as functions when they are ours, as programs otherwise.

mod versions;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

pub use versions::supported_versions;

use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Command, Context, Version, check_plugin_type, code};

/// How long a program may take. Some wait for a DHCP server or a cloud's interface.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);
/// How much a program may say.
const MAX_OUTPUT: u64 = 4 << 20;

/// Calls the address plugin that a configuration names.
pub(crate) fn call_ipam(
    context: &Context<'_>,
    kind: &str,
    command: Command,
) -> Result<Option<CniResult>, CniError> {
    check_plugin_type(kind)?;
    match Plugin::from_type(kind) {
        Some(plugin) if plugin.role == Role::Addresses => plugin.call(command, context),
        _ => {
            let program = find(kind, &context.plugin_directories)?;
            let input = serde_json::to_vec(&context.config.raw)
                .map_err(|cause| CniError::internal("the configuration can't be written", &cause))?;
            execute(context, &program, command, &input, TIME_LIMIT)
        }
    }
}

/// Whether an address plugin is one of ours, called as a function.
pub(crate) fn is_built_in_ipam(kind: &str) -> bool {
    Plugin::from_type(kind).is_some_and(|plugin| plugin.role == Role::Addresses)
}

/// Finds a plugin's program.
pub fn find(kind: &str, directories: &[PathBuf]) -> Result<PathBuf, CniError> {
    check_plugin_type(kind)?;
    let found = directories.iter().map(|directory| directory.join(kind)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let searched: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
        let message = format!("failed to find plugin `{kind}` in path [{}]", searched.join(" "));
        CniError::invalid_config(message)
    })
}

/// Runs a plugin's program with a configuration on its standard input.
pub fn execute(
    context: &Context<'_>,
    program: &Path,
    command: Command,
    input: &[u8],
    limit: Duration,
) -> Result<Option<CniResult>, CniError> {
    let arguments: Vec<String> =
        context.arguments.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let directories: Vec<_> =
        context.plugin_directories.iter().map(|directory| directory.display().to_string()).collect();
    let mut child = Program::new(program);
    child
        .env("CNI_COMMAND", command.as_str())
        .env("CNI_CONTAINERID", &context.container_id)
        .env("CNI_NETNS", context.namespace.as_deref().unwrap_or(Path::new("")))
        .env("CNI_IFNAME", &context.interface)
        .env("CNI_ARGS", arguments.join(";"))
        .env("CNI_PATH", directories.join(":"));
    let output = run(child, input, limit)
        .map_err(|message| CniError::new(code::IO, format!("plugin `{}` {message}", program.display())))?;
    read_output(program, command, context.config.version, &output)
}

fn read_output(
    program: &Path,
    command: Command,
    version: Version,
    output: &Output,
) -> Result<Option<CniResult>, CniError> {
    let name = program.display();
    if !output.status.success() {
        if let Ok(error) = serde_json::from_slice::<CniError>(&output.stdout) {
            return Err(error);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let how = if said.is_empty() {
            " with no error message".into()
        } else {
            format!(": {}", said.escape_debug())
        };
        return Err(CniError::new(
            code::INTERNAL,
            format!("plugin `{name}` failed ({}){how}", output.status),
        ));
    }
    if command != Command::Add {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|cause| {
        CniError::new(code::DECODE, format!("the result of plugin `{name}` is not valid JSON"))
            .because(&cause)
    })?;
    CniResult::parse(&value, version).map(Some)
}

/// What a program left.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a program in a process group of its own, so that nothing of it is left when its time is up.
pub(crate) fn run(mut program: Program, input: &[u8], limit: Duration) -> Result<Output, String> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = program.spawn().map_err(|cause| format!("can't be executed: {cause}"))?;
    let deadline = Instant::now() + limit;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let result = std::thread::scope(|scope| {
        // A program that does not read its input still gives a result; that it did not read it is no error.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let (sender, receiver) = mpsc::channel();
        let errors = sender.clone();
        scope.spawn(move || sender.send((true, read_bounded(stdout))));
        scope.spawn(move || errors.send((false, read_bounded(stderr))));
        let collected = collect(&receiver, deadline);
        // What the program left behind holds its pipes open, and the threads with them.
        if collected.is_err() {
            end(&child);
        }
        collected
    });
    let (stdout, stderr) = match result {
        Ok(streams) => streams,
        Err(message) => {
            child.wait().map_err(|cause| format!("can't be waited for: {cause}"))?;
            return Err(message);
        }
    };
    let status = child.wait().map_err(|cause| format!("can't be waited for: {cause}"))?;
    Ok(Output { status, stdout, stderr })
}

fn read_bounded(stream: Option<impl Read>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream
            .take(MAX_OUTPUT + 1)
            .read_to_end(&mut bytes)
            .map_err(|cause| format!("can't be read: {cause}"))?;
    }
    if bytes.len() as u64 > MAX_OUTPUT {
        return Err(format!("says more than {MAX_OUTPUT} bytes"));
    }
    Ok(bytes)
}

type Part = (bool, Result<Vec<u8>, String>);

fn collect(receiver: &mpsc::Receiver<Part>, deadline: Instant) -> Result<(Vec<u8>, Vec<u8>), String> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let left = deadline.saturating_duration_since(Instant::now());
        let (is_stdout, bytes) =
            receiver.recv_timeout(left).map_err(|_| "did not finish within its time".to_owned())?;
        if is_stdout {
            stdout = bytes?;
        } else {
            stderr = bytes?;
        }
    }
    Ok((stdout, stderr))
}

/// Kills a program and all that it started. Its process group exists as long as it has not been waited for.
fn end(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        kill_process_group(pid, Signal::KILL).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        let mut program = Program::new("sh");
        program.args(["-c", script]);
        program
    }

    #[test]
    fn output_and_input_pass_through() {
        let output = run(shell("cat; echo err >&2; exit 3"), b"hello", TIME_LIMIT).expect("it runs");
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"hello"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let begun = Instant::now();
        let error = run(shell("sleep 60 & sleep 60"), b"", Duration::from_millis(100)).err();
        assert_eq!(error.as_deref(), Some("did not finish within its time"));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_says_too_much_is_ended() {
        let error =
            run(shell("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done"), b"", TIME_LIMIT)
                .err();
        assert!(error.is_some_and(|error| error.contains("says more than")));
    }

    #[test]
    fn failures_are_told_in_the_program_s_own_words() {
        let read = |script: &str| {
            let output = run(shell(script), b"", TIME_LIMIT).expect("it runs");
            read_output(Path::new("/p/x"), Command::Add, Version::NEWEST, &output)
        };
        let error = read(r#"echo '{"code":7,"msg":"bad","details":"very"}'; exit 1"#).expect_err("it failed");
        assert_eq!((error.code, error.to_string().as_str()), (7, "bad: very"));
        let error = read("echo oops >&2; exit 1").expect_err("it failed");
        assert!(error.message.contains("oops"), "{error}");
        let error = read("exit 1").expect_err("it failed");
        assert!(error.message.contains("no error message"), "{error}");
        assert_eq!(read("echo junk").expect_err("no JSON").code, code::DECODE);
        assert_eq!(read("echo null").expect("null is empty"), Some(CniResult::default()));
    }
}
