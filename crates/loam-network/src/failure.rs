//! Errors of plugins as failures of the seam.

use std::error::Error;
use std::io;

use loam_cni::protocol::code;
use loam_cni::{CniError, Command};
use loam_model::{ErrorKind, Failure, escaped};

use crate::chain::CallError;

/// The kind of failure that a plugin's error code means.
pub(crate) fn kind(code: u32) -> ErrorKind {
    match code {
        code::INCOMPATIBLE_VERSION
        | code::UNSUPPORTED_FIELD
        | code::INVALID_ENVIRONMENT
        | code::DECODE
        | code::INVALID_CONFIG => ErrorKind::Invalid,
        code::UNKNOWN_CONTAINER | code::INVALID_NAMESPACE => ErrorKind::NotFound,
        code::TRY_AGAIN | code::UNAVAILABLE | code::UNAVAILABLE_DEGRADED => ErrorKind::Unavailable,
        code::PORT_TAKEN | code::EXISTS => ErrorKind::AlreadyExists,
        code::ADDRESSES_EXHAUSTED => ErrorKind::Exhausted,
        code::UNSUPPORTED_KERNEL => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}

/// A plugin's error as a failure.
pub(crate) fn of_plugin(doing: &str, network: &str, plugin: &str, error: CniError) -> Failure {
    let failure =
        Failure::new(kind(error.code), format!("{doing} network `{network}` failed in plugin `{plugin}`"));
    let hint = (error.code == code::ADDRESSES_EXHAUSTED)
        .then_some("remove containers that are no longer needed, or give the network a larger range");
    let failure = failure.caused_by(readable(error));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// How much of what a plugin says is told, in characters.
const SAID: usize = 1000;

/// A plugin's error as people may read it: plugins are anybody's programs.
fn readable(error: CniError) -> CniError {
    let readable = |text: String| match text.char_indices().nth(SAID) {
        Some((end, _)) => format!("{}…", escaped(&text[..end])),
        None => escaped(&text).into_owned(),
    };
    let said = match error.message.trim().is_empty() {
        true => "it does not say why".to_owned(),
        false => error.message,
    };
    CniError { message: readable(said), details: readable(error.details), ..error }
}

impl From<CallError> for Failure {
    fn from(call: CallError) -> Self {
        let doing = match call.command {
            Command::Add => "attaching to",
            Command::Del => "detaching from",
            Command::Check => "checking the attachment to",
            Command::Gc => "collecting garbage of",
            Command::Status => "the state of",
            Command::Version => "asking for the versions of",
        };
        of_plugin(doing, &call.network, &call.plugin, call.error)
    }
}

/// An input or output error of our own files as a failure, of the class that the error number has.
pub(crate) fn of_files(doing: &str, error: impl Error + Send + Sync + 'static) -> Failure {
    let first: &(dyn Error + 'static) = &error;
    let mut causes = std::iter::successors(Some(first), |&error| error.source());
    let cause = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
    Failure::new(cause.map_or(ErrorKind::Internal, ErrorKind::of_io), doing).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheError;

    #[test]
    fn what_a_plugin_says_is_cut_and_does_nothing_to_a_terminal() {
        let told = |message: &str| {
            let error = CniError::new(code::INTERNAL, message).because(&std::io::Error::other("a\nb"));
            of_plugin("attaching to", "n", "x", error).chain()
        };
        let begin = "attaching to network `n` failed in plugin `x`: ";
        assert_eq!(told("no\u{1b}[2J"), format!("{begin}no\\u{{1b}}[2J: a\\nb"));
        assert_eq!(told(" "), format!("{begin}it does not say why: a\\nb"));
        assert_eq!(told(&"ü".repeat(2000)), format!("{begin}{}…: a\\nb", "ü".repeat(SAID)));
    }

    #[test]
    fn a_full_disk_is_named_as_such_below_the_step_that_failed() {
        let full = CacheError::Write("/x".into(), io::Error::from_raw_os_error(28));
        assert_eq!(of_files("writing", full).kind(), ErrorKind::Exhausted);
        assert_eq!(of_files("writing", std::fmt::Error).kind(), ErrorKind::Internal);
    }
}
