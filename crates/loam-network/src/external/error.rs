//! Why an external networker did not do what it was asked.

use std::io;
use std::path::PathBuf;

use loam_model::{ErrorKind, Failure, escaped};

use super::Networker;

/// How much of what a program said is told, from its end: what it logs before it fails comes first.
const SAID: usize = 1000;

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkerError {
    /// The contract names a container's network namespace by a process in it.
    #[error("`{0}` is not the network namespace of a process")]
    NoProcess(PathBuf),
    /// The file that it reads can't be made.
    #[error("`{0}` can't be written")]
    Prepare(PathBuf, #[source] io::Error),
    /// It can't be run, took too long, or said too much.
    #[error("it {0}")]
    Run(String),
    /// It ended with another code than 0.
    #[error("action `{action}` ended with {status}{said}")]
    Failed {
        /// What it was asked.
        action: &'static str,
        /// How it ended.
        status: String,
        /// What it said, after a colon.
        said: String,
    },
    /// What it gave is no JSON value.
    #[error("what action `{0}` gave is not valid JSON")]
    Json(&'static str, #[source] serde_json::Error),
    /// What it gave is a JSON value of another form.
    #[error("what action `{action}` gave can't be used: {what}")]
    Form {
        /// What it was asked.
        action: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// The end of what a program said, as a message can show it.
pub(super) fn end(stream: &[u8]) -> String {
    let text = String::from_utf8_lossy(stream);
    let text = text.trim();
    let start = text.char_indices().nth_back(SAID - 1).map_or(0, |(index, _)| index);
    escaped(&text[start..]).into_owned()
}

impl NetworkerError {
    /// The failure of an action, with what it said: on standard error, else on standard output.
    pub(super) fn failed(action: &'static str, output: &loam_cni::delegate::Output) -> Self {
        let stream = if output.stderr.trim_ascii().is_empty() { &output.stdout } else { &output.stderr };
        let text = end(stream);
        let said = if text.is_empty() { text } else { format!(": {text}") };
        Self::Failed { action, status: output.status.to_string(), said }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProcess(_) => ErrorKind::Unsupported,
            Self::Prepare(_, cause) => ErrorKind::of_io(cause),
            Self::Run(_) | Self::Failed { .. } => ErrorKind::Internal,
            Self::Json(..) | Self::Form { .. } => ErrorKind::Invalid,
        }
    }

    /// The failure of a step on a network.
    pub(super) fn on(self, doing: &str, network: &str, networker: &Networker) -> Failure {
        let program = networker.program().display();
        let message = format!("{doing} network `{network}` failed in the external networker `{program}`");
        Failure::new(self.kind(), message).caused_by(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_is_said_is_told_and_does_nothing_to_a_terminal() {
        assert_eq!(end(b" \n"), "");
        assert_eq!(end(b"no\x1b[2J way\n"), "no\\u{1b}[2J way");
        let long = format!("{}{}", "a".repeat(2000), "ü".repeat(SAID - 1));
        assert_eq!(end(long.as_bytes()), format!("a{}", "ü".repeat(SAID - 1)));
    }
}
