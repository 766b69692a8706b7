//! Errors of plugins as failures of the seam.

use loam_cni::CniError;
use loam_cni::protocol::code;
use loam_model::{ErrorKind, Failure};

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
    let failure = failure.caused_by(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// An input or output error of our own files as a failure.
pub(crate) fn of_files(doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(ErrorKind::Internal, doing).caused_by(error)
}
