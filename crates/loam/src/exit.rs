//! Exit codes, and the one table from failures to them.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | well |
//! | 1 | a check found something wrong |
//! | 125 | Loam failed, or was used wrongly |
//! | 126 | the program exists in the container but can't be executed |
//! | 127 | the program does not exist in the container |
//! | 128+n | the process was ended by signal n |
//! | else | the process's own |

use std::process::ExitCode;

use loam_model::{ErrorKind, ExitStatus};

/// An exit code of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// All went well.
    pub(crate) const SUCCESS: Exit = Exit(0);

    /// A check found something wrong.
    pub(crate) const FOUND_WRONG: Exit = Exit(1);

    /// Loam failed, or was used wrongly.
    pub(crate) const ENGINE: Exit = Exit(125);

    /// As a process ended.
    pub(crate) fn of_process(status: ExitStatus) -> Exit {
        Exit(status.shell_code())
    }

    /// As if this process had been ended by a signal.
    pub(crate) fn of_signal(signal: i32) -> Exit {
        Exit::of_process(ExitStatus::Signaled(signal))
    }

    /// For a failure of this kind.
    pub(crate) fn of_failure(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::CommandNotExecutable => Exit(126),
            ErrorKind::CommandNotFound => Exit(127),
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Invalid
            | ErrorKind::Conflict
            | ErrorKind::Exhausted
            | ErrorKind::Unavailable
            | ErrorKind::Denied
            | ErrorKind::Unsupported
            | ErrorKind::Internal => Exit::ENGINE,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_people_expect() {
        assert_eq!(Exit::of_process(ExitStatus::Exited(3)), Exit(3));
        assert_eq!(Exit::of_process(ExitStatus::Signaled(9)), Exit(137));
        assert_eq!(Exit::of_failure(ErrorKind::CommandNotFound), Exit(127));
        assert_eq!(Exit::of_failure(ErrorKind::CommandNotExecutable), Exit(126));
        assert_eq!(Exit::of_failure(ErrorKind::Denied), Exit(125));
    }
}
