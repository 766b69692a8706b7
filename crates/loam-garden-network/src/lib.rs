//! The external networker's door: what Guardian calls as `--network-plugin`, so that a stock Guardian uses Loam's networks.
//!
//! What comes in: `--action up|down|net-in|net-out|bulk-net-out --handle HANDLE`, options before them, and one JSON value on
//! standard input. What goes out: one JSON value on standard output, or nothing; the reason of a failure as one sentence on
//! standard error, which Guardian writes to its log; exit codes 0 and 1. Everything that is done is done by the network seam;
//! here is translation, and what Guardian does not keep for us:
//!
//! ```text
//! STATE/writing-HASH    a handle's file before it has its name
//! STATE/handles/HANDLE  one for each container that is up: its rules; flock'ed by each action on the handle
//! ```
//!
//! A handle's file is written before the first effect and removed after the last one is undone, so that `down` finds what a
//! crash left. In the seam a container is named by the SHA-256 of its handle: handles are any names of files.

mod action;
mod arguments;
mod error;
mod handles;
mod messages;
mod policy;

use std::ffi::OsString;
use std::io::{Read, Write};

use loam_model::{NetworkRules, Result};

pub use arguments::NetworkOptions;

use arguments::Arguments;

/// What one run comes to: 0, or 1.
pub type ExitCode = u8;

/// The machine that the door stands on.
pub trait Host {
    /// Whether the machine can do any of it: its kernel may be too old.
    fn check(&self) -> Result<()>;

    /// Opens the network seam, and makes the network of the options when it does not exist.
    fn network(&self, options: &NetworkOptions) -> Result<Box<dyn NetworkRules>>;
}

/// Runs the door with the words after its name. Results go to `output`, the reason of a failure goes to `errors`.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    host: &dyn Host,
    input: &mut dyn Read,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> ExitCode {
    let answered = match Arguments::read(words) {
        Ok(Ok(arguments)) => {
            host.check().map_err(Into::into).and_then(|()| action::run(&arguments, host, input))
        }
        Ok(Err(help)) => Ok(Some(help)),
        Err(error) => Err(error),
    };
    let written = match &answered {
        Ok(Some(text)) => writeln!(output, "{}", text.trim_end()).and_then(|()| output.flush()),
        Ok(None) => Ok(()),
        Err(error) => writeln!(errors, "{}", error.chain()),
    };
    u8::from(answered.is_err() || written.is_err())
}
