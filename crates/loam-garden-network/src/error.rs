//! Why an action failed.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use loam_model::Failure;
use loam_sys::without_error_numbers;

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkerError {
    /// The command line is not right; the text is whole.
    #[error("{0}")]
    Usage(String),
    /// The handle can't name a file.
    #[error("`{0}` is no handle")]
    Handle(String),
    /// Standard input can't be read.
    #[error("the input can't be read")]
    Input(#[source] io::Error),
    /// Standard input is longer than any sensible one.
    #[error("the input is longer than {0} bytes")]
    TooLong(u64),
    /// Standard input is not what the action takes.
    #[error("the input of action `{0}` is not as it must be")]
    Decode(&'static str, #[source] serde_json::Error),
    /// A rule can't be used.
    #[error("rule {number} can't be used: {why}")]
    Rule {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The container's first process is gone, or never was.
    #[error("container `{handle}` has no network: there is no process {pid}")]
    NoProcess {
        /// The container.
        handle: String,
        /// The host's id of the process.
        pid: u32,
    },
    /// The kernel does not tell of the network of the container's first process.
    #[error("container `{handle}` has no network: the network namespace of process {pid} can't be looked at")]
    Process {
        /// The container.
        handle: String,
        /// The host's id of the process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// The container is up already.
    #[error("container `{0}` is up already")]
    Up(String),
    /// The container is not up.
    #[error("cannot find container [{0}]")]
    Unknown(String),
    /// What is kept can't be read or written.
    #[error("`{0}` can't be kept")]
    State(PathBuf, #[source] io::Error),
    /// The network did not do what it was asked.
    #[error(transparent)]
    Network(#[from] Failure),
    /// It did not, and undoing failed as well.
    #[error("{first}; undoing it failed too: {second}")]
    Undo {
        /// The failure.
        first: Box<NetworkerError>,
        /// What failed after it.
        second: Box<NetworkerError>,
    },
}

impl NetworkerError {
    /// The error with its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        match self {
            Self::Network(failure) => return failure.chain(),
            Self::Undo { first, second } => {
                return format!("{}; undoing it failed too: {}", first.chain(), second.chain());
            }
            _ => {}
        }
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        without_error_numbers(&text).into_owned()
    }
}
