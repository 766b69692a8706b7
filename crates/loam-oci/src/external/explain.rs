//! What a runtime program means by what it says. There is no standard for it but the words that engines look for.

use loam_model::{ErrorKind, escaped};
use serde::Deserialize;

/// As much of a message as a person reads.
const MAX_MESSAGE: usize = 1000;

#[derive(Deserialize)]
struct LogLine {
    level: String,
    msg: String,
}

/// The message of a failed call: the last error in the log, which is a line of JSON each, else the last line of output.
pub(super) fn message(log: &str, output: &str) -> String {
    let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
    let last = lines.find(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"));
    let text = match last {
        Some(line) => line.msg,
        None => output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned(),
    };
    let text = text.trim().trim_end_matches('.');
    let end = text.char_indices().nth(MAX_MESSAGE).map_or(text.len(), |(end, _)| end);
    escaped(&text[..end]).into_owned()
}

/// The class of a failure. `runs_command` says that the call was about to run the user's program.
pub(super) fn kind(message: &str, runs_command: bool) -> ErrorKind {
    let text = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    // The same "no such file" may be about a mount: only with a word about the program it is the program.
    let about_program =
        has(&["exec: \"", "executable file", "open executable", "exec user process", "execve", "executable"]);
    if runs_command && about_program {
        if has(&["not found", "no such file or directory"]) {
            return ErrorKind::CommandNotFound;
        }
        if has(&[
            "permission denied",
            "operation not permitted",
            "exec format error",
            "is a directory",
            "text file busy",
        ]) {
            return ErrorKind::CommandNotExecutable;
        }
    }
    if has(&[
        "process already finished",
        "container not running",
        "no such process",
        "is not running",
        "not running",
        "cannot exec in a stopped",
        "container is paused",
        "not paused",
        "cannot pause",
        "container not paused",
    ]) {
        return ErrorKind::Conflict;
    }
    if has(&["does not exist"]) {
        return ErrorKind::NotFound;
    }
    if has(&["permission denied", "operation not permitted"]) {
        return ErrorKind::Denied;
    }
    ErrorKind::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_the_log_is_the_message() {
        let log = "{\"level\":\"error\",\"msg\":\"first\",\"time\":\"x\"}\nnoise\n\
                   {\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": bad\\u001b\",\"time\":\"x\"}\n{\"level\":\"debug\",\"msg\":\"bye\"}\n";
        assert_eq!(message(log, "output"), "exec: \"x\": bad\\u{1b}");
        assert_eq!(message("", "one\ntwo.\n\n"), "two");
        assert_eq!(message("", ""), "");
        assert_eq!(message("", &"x".repeat(5000)).len(), MAX_MESSAGE);
    }

    #[test]
    fn messages_of_runc_crun_and_youki() {
        let table = [
            (
                "unable to start container process: exec: \"nope\": executable file not found in $PATH",
                true,
                ErrorKind::CommandNotFound,
            ),
            (
                "unable to start container process: exec: \"/nope\": stat /nope: no such file or directory",
                true,
                ErrorKind::CommandNotFound,
            ),
            (
                "executable file `nope` not found in $PATH: No such file or directory",
                true,
                ErrorKind::CommandNotFound,
            ),
            ("exec: \"/etc\": is a directory", true, ErrorKind::CommandNotExecutable),
            (
                "unable to start container process: exec: \"/etc/passwd\": permission denied",
                true,
                ErrorKind::CommandNotExecutable,
            ),
            ("open executable: Permission denied", true, ErrorKind::CommandNotExecutable),
            ("exec /bad: exec format error: executable", true, ErrorKind::CommandNotExecutable),
            (
                "error mounting \"/x\" to rootfs at \"/y\": no such file or directory",
                true,
                ErrorKind::Internal,
            ),
            ("container not running", false, ErrorKind::Conflict),
            ("os: process already finished", false, ErrorKind::Conflict),
            ("container \"x\" does not exist", false, ErrorKind::NotFound),
            (
                "error opening file `/run/crun/x/status`: No such file or directory",
                false,
                ErrorKind::Internal,
            ),
        ];
        for (said, runs_command, expected) in table {
            assert_eq!(kind(said, runs_command), expected, "{said}");
        }
    }
}
