//! What went wrong, as every door needs to know it.

use std::error::Error;
use std::{fmt, io};

use loam_sys::without_error_numbers;

/// No descriptor is left to this process (EMFILE), or to all (ENFILE); the standard library has no names for these.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// The result of every operation across a seam.
pub type Result<T> = std::result::Result<T, Failure>;

/// The class of a failure. Each door maps these in one table: to exit codes, HTTP status, gRPC or CNI codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The name, port or address is taken.
    AlreadyExists,
    /// The request makes no sense, whatever the state.
    Invalid,
    /// The request makes sense, but not in the present state.
    Conflict,
    /// Space, memory, addresses or another stock is used up.
    Exhausted,
    /// A peer (a registry, a helper program) can't be reached or does not answer well; trying again may help.
    Unavailable,
    /// A peer or the kernel refuses for lack of rights.
    Denied,
    /// This kernel, machine or build can't do it.
    Unsupported,
    /// The program to run does not exist in the container (exit code 127 at the command line).
    CommandNotFound,
    /// The program to run exists but can't be executed (exit code 126 at the command line).
    CommandNotExecutable,
    /// Anything else; a bug or an input or output error.
    Internal,
}

impl ErrorKind {
    /// The class that an input or output error has by itself. A missing file is internal: only the caller knows whether
    /// it is the thing that somebody named.
    pub fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        match error.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory => Self::Exhausted,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::Denied,
            Io::Unsupported => Self::Unsupported,
            _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => Self::Exhausted,
            _ => Self::Internal,
        }
    }
}

/// What failed, for doors that have words of their own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The certificate of a registry is of an authority that nobody knows.
    UntrustedCertificate,
    /// A registry says that there is no such repository, or that one may not see it.
    NoAccess,
    /// A registry does not accept the login.
    LoginRefused,
    /// There is nothing at the path of a source.
    NoSource,
    /// A directory where a tar should be.
    DirectoryForTar,
    /// The compressed layers of an image are larger than the limit, in bytes.
    BlobsExceedLimit {
        /// Their bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The layers of an image unpack to more than the limit.
    UnpackedExceedsLimit,
    /// The layers of an image leave nothing of the limit, in bytes.
    LayersExceedLimit {
        /// Their bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

/// A failure across a seam: its kind, one sentence, the cause, and perhaps a hint.
///
/// The message names the thing in backticks, then what went wrong, in lower case and without a full stop; it does
/// not repeat the cause, which a door prints after it from [`Error::source`].
pub struct Failure(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    reason: Option<Reason>,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Makes a failure without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, reason: None, message: message.into(), hint: None, source: None }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts a sentence before it, of what could not be done because of it.
    #[must_use]
    pub fn within(self, sentence: impl Into<String>) -> Self {
        let mut outer = Self::new(self.kind(), sentence);
        outer.0.hint = self.hint_text().map(str::to_owned);
        outer.caused_by(self)
    }

    /// Adds what the person can do next, one sentence in lower case without a full stop.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says what failed, for doors with words of their own.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// What failed, as far as that has a name: of this failure, or of the nearest of its causes.
    pub fn reason(&self) -> Option<Reason> {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(reason) = error.downcast_ref::<Self>().and_then(|failure| failure.0.reason) {
                return Some(reason);
            }
            next = error.source();
        }
        None
    }

    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the person can do next, if that is known. Where open files ran out, that is said whatever failed by it.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref().or_else(|| out_of_files(self))
    }

    /// The message and all causes, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        without_error_numbers(&text).into_owned()
    }

    /// Joins what several independent steps of a teardown reported; `None` when all went well.
    pub fn join(failures: Vec<Failure>) -> Option<Failure> {
        let mut failures = failures.into_iter();
        let first = failures.next()?;
        let rest: Vec<String> = failures.map(|failure| failure.chain()).collect();
        if rest.is_empty() {
            return Some(first);
        }
        let kind = first.kind();
        Some(Failure::new(kind, format!("{}; {}", first.chain(), rest.join("; "))))
    }
}

/// What to do when an error, or one of its causes, says that open files ran out.
pub fn out_of_files(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<io::Error>().and_then(number_of) {
            Some(EMFILE) => return Some("this process may not open more files: see `ulimit -n`"),
            Some(ENFILE) => return Some("the system may not open more files: see `sysctl fs.file-max`"),
            _ => next = error.source(),
        }
    }
    None
}

/// The number of an input or output error, also of one that is wrapped in another.
fn number_of(error: &io::Error) -> Option<i32> {
    let inner = || error.get_ref()?.downcast_ref::<io::Error>().and_then(number_of);
    error.raw_os_error().or_else(inner)
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.0.kind, self.chain())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_a_cause() {
        let inner = Failure::new(ErrorKind::Denied, "b").because(Reason::LoginRefused);
        let outer = Failure::new(ErrorKind::Denied, "a").caused_by(inner);
        assert_eq!(outer.reason(), Some(Reason::LoginRefused));
        assert_eq!(Failure::new(ErrorKind::Denied, "a").reason(), None);
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        let cause = io::Error::other("disk on fire");
        let failure = Failure::new(ErrorKind::Internal, "writing `x` failed").caused_by(cause);
        assert_eq!(failure.to_string(), "writing `x` failed");
        assert_eq!(failure.chain(), "writing `x` failed: disk on fire");
    }

    #[test]
    fn the_chain_gives_the_kernels_words_without_their_number() {
        let cause = io::Error::from_raw_os_error(2);
        let failure = Failure::new(ErrorKind::NotFound, "`x` can't be read").caused_by(cause);
        assert_eq!(failure.chain(), "`x` can't be read: No such file or directory");
        let within =
            Failure::new(ErrorKind::NotFound, format!("{}; and more", io::Error::from_raw_os_error(2)));
        assert_eq!(within.chain(), "No such file or directory; and more");
    }

    #[test]
    fn error_numbers_have_a_class() {
        let of = |errno| ErrorKind::of_io(&io::Error::from_raw_os_error(errno));
        let (enospc, edquot, emfile, eacces, erofs, eio) = (28, 122, 24, 13, 30, 5);
        assert!([enospc, edquot, emfile].map(of).iter().all(|kind| *kind == ErrorKind::Exhausted));
        assert!([eacces, erofs].map(of).iter().all(|kind| *kind == ErrorKind::Denied));
        assert_eq!(of(eio), ErrorKind::Internal);
    }

    #[test]
    fn a_lack_of_open_files_has_a_hint_wherever_it_is_met() {
        let hint = |errno| {
            let inner =
                Failure::new(ErrorKind::Exhausted, "b").caused_by(io::Error::from_raw_os_error(errno));
            Failure::new(ErrorKind::Exhausted, "a").caused_by(inner).hint_text().map(str::to_owned)
        };
        assert!(hint(24).is_some_and(|hint| hint.contains("ulimit -n")));
        assert!(hint(23).is_some_and(|hint| hint.contains("fs.file-max")));
        assert_eq!(hint(28), None);
        let wrapped = io::Error::other(io::Error::from_raw_os_error(24));
        let failure = Failure::new(ErrorKind::Exhausted, "a").caused_by(wrapped);
        assert!(failure.hint_text().is_some(), "{failure:?}");
    }

    #[test]
    fn joined_failures_keep_the_first_kind() {
        assert!(Failure::join(vec![]).is_none());
        let one = Failure::new(ErrorKind::Conflict, "a");
        let two = Failure::new(ErrorKind::Internal, "b");
        let joined = Failure::join(vec![one, two]).expect("two failures make one");
        assert_eq!((joined.kind(), joined.to_string().as_str()), (ErrorKind::Conflict, "a; b"));
    }
}
