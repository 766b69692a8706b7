//! Standard output: data, and nothing else.

use std::io::{self, Write};

use loam_model::{ErrorKind, Failure};
use serde::Serialize;

/// The reader of standard output has gone, as `head` does: no failure of ours, and nothing to say about it.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(crate) struct OutputClosed;

/// Prints a text as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text.as_bytes())
}

/// Prints a line.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}

/// Prints a value as JSON that people can read.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the answer can't be written as JSON").caused_by(error)
    })?;
    print_line(&text)
}

/// Writes bytes to one of the standard streams, at once.
pub(crate) fn write(stream: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).and_then(|()| stream.flush()).map_err(failure)
}

/// The failure for a standard stream that can't be written.
pub(crate) fn failure(error: io::Error) -> Failure {
    let failure = Failure::new(ErrorKind::Internal, "the output can't be written");
    match error.kind() {
        io::ErrorKind::BrokenPipe => failure.caused_by(OutputClosed),
        _ => failure.caused_by(error),
    }
}

/// Whether a failure only says that the reader of standard output has gone.
pub(crate) fn is_closed(failure: &Failure) -> bool {
    std::error::Error::source(failure).is_some_and(|source| source.is::<OutputClosed>())
}
