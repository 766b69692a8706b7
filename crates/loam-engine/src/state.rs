//! The states of a container.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// A command is making it.
    Creating,
    /// It has a snapshot and was never started.
    Created,
    /// A command is starting it.
    Starting,
    /// Its main process runs.
    Running,
    /// Its processes are stopped where they stand.
    Paused,
    /// Its main process has ended.
    Stopped,
    /// A command is removing it.
    Removing,
}

impl ContainerState {
    const ALL: [ContainerState; 7] = [
        ContainerState::Creating,
        ContainerState::Created,
        ContainerState::Starting,
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Stopped,
        ContainerState::Removing,
    ];

    /// The word, lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerState::Creating => "creating",
            ContainerState::Created => "created",
            ContainerState::Starting => "starting",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Stopped => "stopped",
            ContainerState::Removing => "removing",
        }
    }

    /// Whether its main process lives, as far as the row knows.
    pub fn is_live(self) -> bool {
        matches!(self, ContainerState::Running | ContainerState::Paused)
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The text is not the name of a state.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a container state")]
pub struct UnknownState(String);

impl FromStr for ContainerState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| UnknownState(text.to_owned()))
    }
}
