//! Why a conversation failed.

use std::io;
use std::path::PathBuf;

/// A step of a conversation that failed. Texts from the bus are escaped and cut.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody is behind the socket, or it can't be opened.
    #[error("D-Bus can't be reached at `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The bus does not let this user in.
    #[error("D-Bus does not know this user: `{0}`")]
    Unknown(String),
    /// The connection ended, or failed.
    #[error("the connection to D-Bus broke")]
    Broken(#[source] io::Error),
    /// The deadline has passed.
    #[error("D-Bus did not answer in time")]
    Late,
    /// Bytes that are no message, or values of other types than were waited for.
    #[error("D-Bus sent what is not a message")]
    Malformed,
    /// Who was called says no.
    #[error("{sentence} ({name})")]
    Answer {
        /// The name of the error, such as `org.freedesktop.DBus.Error.AccessDenied`.
        name: String,
        /// Its sentence, without the full stop.
        sentence: String,
    },
}

impl BusError {
    /// Whether it is the answer with this name.
    pub fn is_answer(&self, error: &str) -> bool {
        matches!(self, Self::Answer { name, .. } if name == error)
    }

    /// Whether there is no bus at all.
    pub fn is_absence(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, Self::Connect { source, .. } if matches!(source.kind(), NotFound | ConnectionRefused))
    }
}

/// The longest text that a message shows, in characters.
const LONGEST: usize = 200;

/// A text from the bus as a message can show it: cut, with the characters escaped that a terminal would act on. Quotation
/// marks are no such characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(LONGEST) {
        match character {
            '\'' | '"' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}
