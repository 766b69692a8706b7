//! What can go wrong in a conversation with systemd.

use loam_bus::BusError;
use loam_model::ErrorKind;

/// Why systemd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("the job ended with `{result}`")]
    Job { result: String },
}

/// The names of the answers to one who may not do this.
const DENIALS: [&str; 2] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];

impl SystemdError {
    /// What became of a scope that was asked for.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Bus(BusError::Unknown(_)) => ErrorKind::Denied,
            Self::Bus(error) if DENIALS.iter().any(|name| error.is_answer(name)) => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        }
    }

    /// Whether it is the answer with this name.
    pub(super) fn is_answer(&self, error: &str) -> bool {
        matches!(self, Self::Bus(answer) if answer.is_answer(error))
    }
}
