//! Other people's programs, run so that a failure says which, how and why.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How much of a program's complaints is shown.
const LONGEST_COMPLAINT: usize = 4000;

/// Runs a program to its end, with nothing on its standard input, and gives its standard output. Any exit code but 0
/// is an error that has the command line and what the program said.
pub fn run(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("`{line}` can't be started"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = if complaint.trim().is_empty() { stdout.into() } else { complaint };
    let start = complaint.len().saturating_sub(LONGEST_COMPLAINT);
    let start = (start..=complaint.len()).find(|at| complaint.is_char_boundary(*at)).unwrap_or(0);
    bail!("`{line}` failed ({}): {}", output.status, complaint[start..].trim())
}

/// Runs a program with these arguments, as [`run`] does.
pub fn words(program: &str, arguments: &[&str]) -> Result<String> {
    run(Command::new(program).args(arguments))
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_program_code_and_complaint() {
        assert_eq!(words("sh", &["-c", "echo well"]).expect("success"), "well\n");
        let error = words("sh", &["-c", "echo bad >&2; exit 3"]).expect_err("exit code 3");
        assert_eq!(error.to_string(), "`sh -c echo bad >&2; exit 3` failed (exit status: 3): bad");
        let error = words("no-such-program", &[]).expect_err("nothing to start");
        assert_eq!(error.to_string(), "`no-such-program` can't be started");
    }
}
