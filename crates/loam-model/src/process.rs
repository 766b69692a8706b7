//! Processes in a container and how they end.

use serde::{Deserialize, Serialize};

/// A further process in a running container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessSpec {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Added to the container's environment.
    pub environment: Vec<String>,
    /// The working directory; the container's when absent.
    pub working_directory: Option<String>,
    /// The user; the container's when absent.
    pub user: Option<String>,
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// Whether standard input is kept open.
    pub open_stdin: bool,
    /// Whether the process keeps all capabilities of the engine.
    pub privileged: bool,
}

/// Which process of a container is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessTarget {
    /// The main one.
    Main,
    /// A later one, by the id that [`crate::Shim::exec`] gave.
    Exec(u64),
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
}

impl ExitStatus {
    /// The code that a shell would show: the process's own, or 128 and the signal.
    pub fn shell_code(self) -> u8 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// What is left of a container's main process: written by the shim into `exit.json` before it tells anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether the kernel killed a process of the container for lack of memory.
    pub out_of_memory: bool,
    /// When, as RFC 3339 with nanoseconds, UTC.
    pub finished_at: String,
}
