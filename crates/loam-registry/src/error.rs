//! What can go wrong with a registry, and how it is told.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use loam_model::{Digest, ErrorKind, Failure, Reason, escaped, out_of_files};
use reqwest::StatusCode;

use crate::reference::InvalidReference;

/// A cause, as the standard library boxes them.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why something could not be had from a registry. No message or cause holds a secret: no credentials, no tokens, and
/// of URLs only scheme and host.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The TLS library or the HTTP client could not be set up.
    #[error("connections to `{host}` can't be set up")]
    Setup {
        /// The host, with its port.
        host: String,
        /// Why.
        source: Cause,
    },
    /// A certificate or key in a `certs.d` directory can't be used.
    #[error("the certificate file `{}` can't be used", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A credentials file can't be used.
    #[error("the credentials file `{}` can't be used", path.display())]
    CredentialsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A credential helper did not do its work.
    #[error("the credential helper `{program}` failed: {reason}")]
    CredentialHelper {
        /// The program.
        program: String,
        /// What it said or did.
        reason: String,
    },
    /// A text is no name of an image.
    #[error(transparent)]
    InvalidName(#[from] InvalidReference),
    /// A file with settings of registries says something that makes no sense.
    #[error("the settings file `{}` can't be used: {reason}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// The key, and what is wrong with it.
        reason: String,
    },
    /// The settings forbid a registry.
    #[error("`{what}` is blocked: `{}` has `blocked = true` for `{prefix}`", path.display())]
    Blocked {
        /// The registry and the repository.
        what: String,
        /// The prefix that the settings have for it.
        prefix: String,
        /// The file.
        path: PathBuf,
    },
    /// The settings leave nobody to ask.
    #[error("no host may be asked for this in `{domain}`: `hosts.toml` gives none the capability")]
    NoHost {
        /// The registry.
        domain: String,
    },
    /// A short name may mean images of several registries.
    #[error("`{name}` may be of several registries, which `{}` lists", path.display())]
    AmbiguousName {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What it may mean, whole.
        candidates: Vec<String>,
    },
    /// No connection comes about.
    #[error("`{host}` can't be reached")]
    Connect {
        /// The host, with its port.
        host: String,
        /// Whether it has answered before.
        known: bool,
        /// Why.
        source: Cause,
    },
    /// The server's certificate is not one to trust.
    #[error("the certificate of `{host}` can't be trusted")]
    Certificate {
        /// The host, with its port.
        host: String,
        /// Why.
        source: Cause,
    },
    /// A connection ended or broke before its time.
    #[error("the connection to `{host}` broke")]
    Broken {
        /// The host, with its port.
        host: String,
        /// Why.
        source: Cause,
    },
    /// Nothing came for too long.
    #[error("`{host}` has sent nothing for {} seconds", idle.as_secs_f32())]
    Silent {
        /// The host, with its port.
        host: String,
        /// How long.
        idle: Duration,
    },
    /// Next to nothing came for too long.
    #[error("`{host}` has sent no more than {bytes} bytes in {} seconds", window.as_secs_f32())]
    Slow {
        /// The host, with its port.
        host: String,
        /// How much came.
        bytes: usize,
        /// In what time.
        window: Duration,
    },
    /// A redirect that is not followed.
    #[error("`{host}` redirects {reason}")]
    Redirect {
        /// The host, with its port.
        host: String,
        /// Where to, and what is wrong with it.
        reason: String,
    },
    /// The registry knows no such manifest or blob.
    #[error("`{what}` was not found on `{host}`{detail}")]
    NotFound {
        /// The host, with its port.
        host: String,
        /// The reference or the digest.
        what: String,
        /// What the registry said, with a colon before it, or nothing.
        detail: String,
    },
    /// The registry wants other credentials, or denies that the repository exists; it does not say which.
    #[error("`{what}` does not exist or you have no access to it{detail}")]
    Denied {
        /// The host, with its port.
        host: String,
        /// The reference or the digest.
        what: String,
        /// What the registry said, with a colon before it, or nothing.
        detail: String,
        /// Whether credentials were sent.
        with_login: bool,
    },
    /// The user name or the password is wrong.
    #[error("the login for `{host}` is not accepted{detail}")]
    LoginRefused {
        /// The registry.
        host: String,
        /// What the token service said, with a colon before it, or nothing.
        detail: String,
    },
    /// The registry wants fewer requests.
    #[error("`{host}` takes no more requests for now{detail}")]
    RateLimited {
        /// The host, with its port.
        host: String,
        /// What the registry said, with a colon before it, or nothing.
        detail: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// Any other answer that is no success.
    #[error("`{host}` answers {status} when asked for {what}{detail}")]
    Status {
        /// The host, with its port.
        host: String,
        /// What was asked for.
        what: String,
        /// The status.
        status: StatusCode,
        /// What the registry said, with a colon before it, or nothing.
        detail: String,
    },
    /// The way to log in that the registry names can't be gone.
    #[error("`{host}` asks for a login in a way that is not accepted: {reason}")]
    Challenge {
        /// The host, with its port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An answer is longer than anything of its kind may be.
    #[error("`{host}` sends more than {limit} bytes for {what}")]
    TooLarge {
        /// The host, with its port.
        host: String,
        /// What was asked for.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A manifest's bytes have another digest than was asked for.
    #[error("`{host}` sends a manifest with the digest `{actual}` for `{expected}`")]
    DigestMismatch {
        /// The host, with its port.
        host: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A blob is longer or shorter than the manifest says.
    #[error("`{host}` sends {actual} for the blob `{digest}` of {expected} bytes")]
    Length {
        /// The host, with its port.
        host: String,
        /// The blob.
        digest: Digest,
        /// The size that the manifest names.
        expected: u64,
        /// What came, in words.
        actual: String,
    },
    /// A manifest is not what it should be.
    #[error("the manifest of `{what}` is not valid: {reason}")]
    Manifest {
        /// The reference.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest is of a kind that is no image.
    #[error("`{what}` is {kind}, which is not supported")]
    Unsupported {
        /// The reference.
        what: String,
        /// What it is, in words.
        kind: String,
    },
    /// What is to be pushed can't be made.
    #[error("{failure}")]
    Source {
        /// Why.
        failure: Failure,
    },
    /// A registry does not take what is pushed as the specification has it.
    #[error("`{host}` did not take `{what}`: {reason}")]
    Upload {
        /// The host, with its port.
        host: String,
        /// What was pushed.
        what: String,
        /// What it does instead.
        reason: String,
    },
    /// A registry has no removal of images.
    #[error("`{host}` does not allow that images are removed")]
    NoRemoval {
        /// The host, with its port.
        host: String,
    },
    /// A registry's list of tags makes no sense.
    #[error("the tags of `{what}` that `{host}` sends can't be used: {reason}")]
    Tags {
        /// The host, with its port.
        host: String,
        /// The registry and the repository.
        what: String,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A text is not the name of a registry.
    #[error("`{}` is not a registry", printable(text, 80))]
    NoRegistryName {
        /// The text.
        text: String,
    },
    /// A host is no registry.
    #[error("`{host}` is not a registry")]
    NoRegistry {
        /// The host, with its port.
        host: String,
    },
    /// The answer of a token service makes no sense.
    #[error("the token service `{host}` sends no token that can be used: {reason}")]
    Token {
        /// The host, with its port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl RegistryError {
    /// Turns it into what crosses the seam.
    pub fn into_failure(self) -> Failure {
        if let Self::Source { failure } = self {
            return failure;
        }
        let (kind, hint) = match self.cause().and_then(out_of_files) {
            // Nobody else is to blame.
            Some(hint) => (ErrorKind::Exhausted, Some(hint.to_owned())),
            None => (self.kind(), self.hint()),
        };
        let mut failure = Failure::new(kind, self.to_string());
        if let Some(hint) = hint {
            failure = failure.hint(hint);
        }
        if let Some(reason) = self.reason() {
            failure = failure.because(reason);
        }
        match self.into_cause() {
            Some(cause) => failure.caused_by(cause),
            None => failure,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Setup { .. } => ErrorKind::Internal,
            Self::CertificateFile { .. }
            | Self::CredentialsFile { .. }
            | Self::Settings { .. }
            | Self::NoHost { .. }
            | Self::NoRegistryName { .. }
            | Self::AmbiguousName { .. }
            | Self::InvalidName(_) => ErrorKind::Invalid,
            Self::Blocked { .. } => ErrorKind::Denied,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Denied { with_login: false, .. } => ErrorKind::NotFound,
            Self::Denied { .. } | Self::LoginRefused { .. } => ErrorKind::Denied,
            Self::Unsupported { .. } | Self::NoRemoval { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Unavailable,
        }
    }

    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Certificate { .. } => Some(Reason::UntrustedCertificate),
            Self::Denied { .. } => Some(Reason::NoAccess),
            Self::LoginRefused { .. } => Some(Reason::LoginRefused),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Certificate { host, .. } => Some(format!(
                "put the certificate of its authority at `/etc/containers/certs.d/{host}/ca.crt`, or call the \
                 registry insecure"
            )),
            Self::Setup { .. } => Some("install the package `ca-certificates`".to_owned()),
            Self::Denied { host, with_login: false, .. } => {
                Some(format!("check the name; if the repository is private, log in with `loam login {host}`"))
            }
            Self::LoginRefused { host, .. } => Some(format!("log in again with `loam login {host}`")),
            Self::RateLimited { wait: Some(wait), .. } => Some(format!("try again in {}", in_words(*wait))),
            Self::NotFound { .. } => Some("check the name and the tag".to_owned()),
            Self::NoRegistryName { .. } => Some("write host[:port], such as docker.io".to_owned()),
            Self::AmbiguousName { candidates, .. } => Some(format!("write one of {}", candidates.join(", "))),
            Self::Connect { host, .. } => Some(format!("check the name `{host}` and the network")),
            _ => None,
        }
    }

    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Setup { source, .. }
            | Self::CertificateFile { source, .. }
            | Self::CredentialsFile { source, .. }
            | Self::Connect { source, .. }
            | Self::Certificate { source, .. }
            | Self::Broken { source, .. } => Some(&**source),
            _ => None,
        }
    }

    fn into_cause(self) -> Option<Cause> {
        match self {
            Self::Setup { source, .. }
            | Self::CertificateFile { source, .. }
            | Self::CredentialsFile { source, .. }
            | Self::Connect { source, .. }
            | Self::Certificate { source, .. }
            | Self::Broken { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether asking again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Silent { .. }
            | Self::Slow { .. }
            | Self::RateLimited { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

/// A time as people say it.
pub(crate) fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1 => "1 second".to_owned(),
        seconds @ 2..120 => format!("{seconds} seconds"),
        seconds @ 120..7200 => format!("{} minutes", seconds.div_ceil(60)),
        seconds => format!("{} hours", seconds.div_ceil(3600)),
    }
}

/// A stranger's text, fit for a terminal: on one line, control characters escaped, and not endless.
pub(crate) fn printable(text: &str, longest: usize) -> String {
    let text = text.trim();
    let line: String = text.chars().take(longest).collect();
    let mut shown = escaped(&line.replace(['\n', '\r', '\t'], " ")).into_owned();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

/// The last cause of an error: the one that says what happened, rather than where.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> Cause {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    match last.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        // The number says what kind of failure it is.
        Some(number) => io::Error::from_raw_os_error(number).into(),
        None => last.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_is_escaped_and_cut() {
        assert_eq!(printable(" a\u{1b}[2J\nb\u{202e} ", 80), "a\\u{1b}[2J b\\u{202e}");
        assert_eq!(printable("abcdef", 3), "abc…");
    }

    #[test]
    fn a_failure_has_kind_sentence_hint_and_cause() {
        let error = RegistryError::Connect {
            host: "h:1".to_owned(),
            known: false,
            source: "Connection refused".into(),
        };
        let failure = error.into_failure();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert_eq!(failure.chain(), "`h:1` can't be reached: Connection refused");
        assert_eq!(failure.hint_text(), Some("check the name `h:1` and the network"));
    }

    #[test]
    fn a_connection_that_fails_for_want_of_files_is_nobody_else_s_fault() {
        let cause = std::io::Error::from_raw_os_error(24);
        let outer = Failure::new(ErrorKind::Internal, "connecting failed").caused_by(cause);
        let error = RegistryError::Connect { host: "h:1".to_owned(), known: true, source: innermost(&outer) };
        let failure = error.into_failure();
        assert_eq!(failure.kind(), ErrorKind::Exhausted);
        assert!(failure.hint_text().is_some_and(|hint| hint.contains("ulimit -n")), "{failure:?}");
        assert!(failure.chain().ends_with(": Too many open files"), "{}", failure.chain());
    }

    #[test]
    fn waits_are_said_as_people_do() {
        let words: Vec<String> =
            [1, 30, 3599, 21600].map(|seconds| in_words(Duration::from_secs(seconds))).into();
        assert_eq!(words, ["1 second", "30 seconds", "60 minutes", "6 hours"]);
    }
}
