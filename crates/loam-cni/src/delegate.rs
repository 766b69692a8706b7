//! Calling other plugins: as functions when they are ours, as programs otherwise.

mod execution;
mod versions;

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Duration;

use serde_json::Value;

pub(crate) use execution::run;
pub use execution::{Limits, Output, run_reading};
#[cfg(feature = "fuzzing")]
pub(crate) use versions::read as read_versions;
pub use versions::supported_versions;

use crate::plugins::{Plugin, Role, dhcp};
use crate::protocol::{CniError, CniResult, Command, Context, Version, check_plugin_type, code};

/// How long a program may take. Some wait for a DHCP server or a cloud's interface.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);
/// How many bytes a plugin may say.
pub const MAX_OUTPUT: usize = 4 << 20;

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

/// Whether an address plugin of ours asks over the link, which must be there first and last.
pub(crate) fn needs_link(kind: &str) -> bool {
    kind == dhcp::KIND
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
    let output = run(child, input, Limits { time: limit, output: MAX_OUTPUT })
        .map_err(|message| CniError::new(code::IO, format!("plugin `{}` {message}", program.display())))?;
    read_output(program, command, context.config.version, &output)
}

/// What came of a plugin's program.
pub(crate) fn read_output(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        let mut program = Program::new("sh");
        program.args(["-c", script]);
        program
    }

    #[test]
    fn failures_are_told_in_the_program_s_own_words() {
        let read = |script: &str| {
            let limits = Limits { time: TIME_LIMIT, output: MAX_OUTPUT };
            let output = run(shell(script), b"", limits).expect("it runs");
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
