//! Failures as they travel.

use std::error::Error;
use std::fmt;

use loam_model::{ErrorKind, Failure};
use serde::{Deserialize, Serialize};

/// The most causes that are told; what comes from the other side may have any number.
const MOST_CAUSES: usize = 32;

/// A [`Failure`] in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireFailure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    causes: Vec<String>,
}

/// [`ErrorKind`], with names for the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "ErrorKind", rename_all = "snake_case")]
enum KindNames {
    NotFound,
    AlreadyExists,
    Invalid,
    Conflict,
    Exhausted,
    Unavailable,
    Denied,
    Unsupported,
    CommandNotFound,
    CommandNotExecutable,
    Internal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Kind(#[serde(with = "KindNames")] ErrorKind);

impl WireFailure {
    /// Takes note of a failure with all its causes.
    pub fn new(failure: &Failure) -> Self {
        let mut causes = Vec::new();
        let mut next = failure.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let hint = failure.hint_text().map(str::to_owned);
        Self { kind: Kind(failure.kind()), message: failure.to_string(), hint, causes }
    }
}

impl From<WireFailure> for Failure {
    fn from(wire: WireFailure) -> Failure {
        let mut failure = Failure::new(wire.kind.0, wire.message);
        let mut causes = wire.causes;
        causes.truncate(MOST_CAUSES);
        if let Some(cause) = Cause::chain(causes) {
            failure = failure.caused_by(cause);
        }
        match wire.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A cause that was told by the other side.
#[derive(Debug)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl Cause {
    fn chain(texts: Vec<String>) -> Option<Cause> {
        texts.into_iter().rev().fold(None, |next, text| Some(Cause { text, next: next.map(Box::new) }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|next| next as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_causes_than_anybody_reads_are_not_taken_over() {
        let causes = vec!["x".to_owned(); 1 << 20];
        let kind = Kind(ErrorKind::Internal);
        let wire = WireFailure { kind, message: "m".to_owned(), hint: None, causes };
        assert_eq!(Failure::from(wire).chain().matches('x').count(), MOST_CAUSES);
    }

    #[test]
    fn a_failure_survives_the_way() {
        let cause = std::io::Error::other("no such file");
        let failure =
            Failure::new(ErrorKind::CommandNotFound, "`x` can't be run").caused_by(cause).hint("install it");
        let text = serde_json::to_string(&WireFailure::new(&failure)).unwrap();
        assert!(text.contains("\"command_not_found\""), "{text}");
        let back = Failure::from(serde_json::from_str::<WireFailure>(&text).unwrap());
        assert_eq!(back.kind(), ErrorKind::CommandNotFound);
        assert_eq!(back.chain(), "`x` can't be run: no such file");
        assert_eq!(back.hint_text(), Some("install it"));
    }
}
