//! Asking a plugin's program which versions of the specification it speaks (SPEC.md, "VERSION").

use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use serde_json::Value;

use super::MAX_OUTPUT;
use super::execution::{Limits, Output, run};
use crate::protocol::{CniError, Command, Version, code};

/// What stands in variables that VERSION has no use for, and that some programs want all the same.
const DUMMY: &str = "dummy";

/// The versions that a plugin's program says it speaks.
pub fn supported_versions(program: &Path, limit: Duration) -> Result<Vec<String>, CniError> {
    let mut child = Program::new(program);
    child
        .env("CNI_COMMAND", Command::Version.as_str())
        .env("CNI_CONTAINERID", DUMMY)
        .env("CNI_NETNS", DUMMY)
        .env("CNI_IFNAME", DUMMY)
        .env("CNI_PATH", DUMMY)
        .env("CNI_ARGS", "");
    let input = format!(r#"{{"cniVersion":"{}"}}"#, Version::NEWEST);
    let output = run(child, input.as_bytes(), Limits { time: limit, output: MAX_OUTPUT })
        .map_err(|message| CniError::new(code::IO, format!("plugin `{}` {message}", program.display())))?;
    read(program, &output)
}

/// A program of before version 0.2.0 does not know the verb; one of 0.2.0 may leave the list out.
pub(crate) fn read(program: &Path, output: &Output) -> Result<Vec<String>, CniError> {
    let wrong = |what: &str| {
        CniError::new(code::DECODE, format!("the versions of plugin `{}` {what}", program.display()))
    };
    if !output.status.success() {
        let error = serde_json::from_slice::<CniError>(&output.stdout).ok();
        return match error {
            Some(error) if error.message.contains("unknown CNI_COMMAND") => Ok(vec!["0.1.0".to_owned()]),
            Some(error) => Err(error),
            None => Err(wrong("can't be had: it failed with no error message")),
        };
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|_| wrong("are not valid JSON"))?;
    match value.get("supportedVersions") {
        Some(Value::Array(versions)) => {
            let texts = versions.iter().map(|version| version.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| wrong("are no texts"))
        }
        None if value.get("cniVersion").and_then(Value::as_str) == Some("0.2.0") => {
            Ok(["0.1.0", "0.2.0"].map(str::to_owned).to_vec())
        }
        _ => Err(wrong("are missing in its answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(script: &str) -> Result<Vec<String>, CniError> {
        let mut shell = Program::new("sh");
        shell.args(["-c", script]);
        let limits = Limits { time: Duration::from_secs(20), output: MAX_OUTPUT };
        read(Path::new("/p/x"), &run(shell, b"", limits).expect("it runs"))
    }

    #[test]
    fn answers_of_all_ages_are_read() {
        let list = r#"echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.1.0"]}'"#;
        assert_eq!(versions(list).expect("a list"), ["0.4.0", "1.1.0"]);
        assert_eq!(versions(r#"echo '{"cniVersion":"0.2.0"}'"#).expect("old"), ["0.1.0", "0.2.0"]);
        let oldest = r#"echo '{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1"#;
        assert_eq!(versions(oldest).expect("oldest"), ["0.1.0"]);
        for (script, said) in [
            ("echo junk", "the versions of plugin `/p/x` are not valid JSON"),
            ("echo '{}'", "the versions of plugin `/p/x` are missing in its answer"),
            (r#"echo '{"supportedVersions":[1]}'"#, "the versions of plugin `/p/x` are no texts"),
            ("exit 3", "the versions of plugin `/p/x` can't be had: it failed with no error message"),
        ] {
            assert_eq!(versions(script).expect_err(script).to_string(), said);
        }
    }
}
