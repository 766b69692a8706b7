//! What can go wrong with a cgroup.

use std::io;
use std::path::PathBuf;

use loam_model::{ErrorKind, Failure, InvalidCgroup};
use rustix::io::Errno;

use super::systemd::SystemdError;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("cgroup path `{path}` can't be used")]
    BadPath { path: String, source: InvalidCgroup },
    #[error("no cgroup hierarchy is mounted below `/sys/fs/cgroup`")]
    NoHierarchy,
    #[error("cgroup `{path}` does not exist")]
    NotFound { path: String },
    #[error("cgroup `{}` still has processes", path.display())]
    Occupied { path: PathBuf },
    #[error("cgroup limit `{limit}` can't be set: this host has no `{controller}` controller")]
    NoController { limit: String, controller: String },
    #[error("cgroup limit `{limit}` can't be set: this kernel does not have it")]
    NoFile { limit: String },
    #[error("cgroup limit `{limit}` is not valid: {rule}")]
    BadLimit { limit: &'static str, rule: &'static str },
    #[error("cgroup setting `{key}` can't be set: {rule}")]
    BadUnified { key: String, rule: &'static str },
    #[error("reading `{}` failed", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("writing `{value}` to `{}` failed", path.display())]
    Write { path: PathBuf, value: String, source: io::Error },
    #[error("making cgroup `{}` failed", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("removing cgroup `{}` failed", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("loading device rules for cgroup `{}` failed", path.display())]
    Devices { path: PathBuf, source: io::Error },
    #[error("cgroup `{path}` can't be paused: no freezer is mounted")]
    NoFreezer { path: String },
    #[error("cgroup `{path}` did not {what} within {seconds} seconds")]
    Late { path: String, what: &'static str, seconds: u64 },
    #[error("the systemd cgroup driver needs cgroup version 2 alone")]
    SystemdOnVersionOne,
    #[error("scope `{unit}` can't be made without a process")]
    NoProcess { unit: String },
    #[error("scope `{unit}` can't be {what} by systemd")]
    Scope { unit: String, what: &'static str, source: SystemdError },
    #[error("annotation `{key}` has the value `{value}`, which is none that is understood")]
    BadAnnotation { key: String, value: String },
    #[error("sending signal {signal} to process {pid} failed")]
    Signal { pid: i32, signal: i32, source: io::Error },
    #[error("signal {signal} can't be sent: there is no such signal")]
    NoSuchSignal { signal: i32 },
}

/// Whether a cgroup's file is not there: its cgroup was gone before it was opened, or went since (kernfs refuses what is
/// open by `ENODEV`). systemd removes scopes whenever it likes.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}

impl CgroupError {
    fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Make { source, .. }
            | Self::Remove { source, .. }
            | Self::Devices { source, .. }
            | Self::Signal { source, .. } => Some(source),
            _ => None,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadPath { .. }
            | Self::BadLimit { .. }
            | Self::BadUnified { .. }
            | Self::BadAnnotation { .. }
            | Self::NoSuchSignal { .. } => ErrorKind::Invalid,
            Self::NoHierarchy
            | Self::NoController { .. }
            | Self::NoFile { .. }
            | Self::NoFreezer { .. }
            | Self::SystemdOnVersionOne => ErrorKind::Unsupported,
            Self::Scope { source, .. } => source.kind(),
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Occupied { .. } => ErrorKind::Conflict,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::InvalidInput => ErrorKind::Invalid,
            Self::Write { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => ErrorKind::Conflict,
            // Not of a write: there it may say that a block device is missing.
            Self::Read { source, .. } if is_gone(source) => ErrorKind::NotFound,
            _ => self.cause().map_or(ErrorKind::Internal, ErrorKind::of_io),
        }
    }
}

impl From<CgroupError> for Failure {
    /// The cause becomes the cause of the failure with the same sentence.
    fn from(error: CgroupError) -> Self {
        let failure = Failure::new(error.kind(), error.to_string());
        match error {
            CgroupError::Read { source, .. }
            | CgroupError::Write { source, .. }
            | CgroupError::Make { source, .. }
            | CgroupError::Remove { source, .. }
            | CgroupError::Devices { source, .. }
            | CgroupError::Signal { source, .. } => failure.caused_by(source),
            CgroupError::BadPath { source, .. } => failure.caused_by(source),
            CgroupError::Scope { source, .. } => failure.caused_by(source),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use loam_bus::BusError;

    use super::*;

    #[test]
    fn a_signal_that_is_none_is_named() {
        let failure = Failure::from(CgroupError::NoSuchSignal { signal: 65 });
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        assert_eq!(failure.chain(), "signal 65 can't be sent: there is no such signal");
    }

    #[test]
    fn what_systemd_says_has_a_kind() {
        let answer = |name: &str| {
            SystemdError::Bus(BusError::Answer { name: name.to_owned(), sentence: "no".to_owned() })
        };
        for (source, kind) in [
            (answer("org.freedesktop.DBus.Error.AccessDenied"), ErrorKind::Denied),
            (answer("org.freedesktop.systemd1.LoadFailed"), ErrorKind::Unavailable),
            (BusError::Malformed.into(), ErrorKind::Unavailable),
            (SystemdError::Job { result: "failed".to_owned() }, ErrorKind::Unavailable),
        ] {
            let error = CgroupError::Scope { unit: "a.scope".to_owned(), what: "started", source };
            assert_eq!(Failure::from(error).kind(), kind);
        }
    }
}
