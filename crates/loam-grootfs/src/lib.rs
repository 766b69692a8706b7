//! The GrootFS door: the command line, YAML, JSON, exit codes and streams of GrootFS, Garden's image plugin, so that a stock
//! Guardian keeps its images in a store of Loam's when the path of its plugin is changed.
//!
//! What comes in: GrootFS's words ([`run`]), its configuration file, and a [`Host`] that opens stores and mounts. What goes
//! out: results and the text of errors on **standard output**, which Guardian hands on, logs in lager's JSON on standard
//! error or in a file, and exit codes 0 and 1. Everything that is done is done by the image seam; here is translation,
//! and the store's own metadata:
//!
//! ```text
//! STORE/                     a store of Loam's: loam.db, layers, snapshots, …; 0700, with mapped ids 0711
//!   images/ID/               one for each image that was created; 0700, the mapped root's
//!     rootfs/                where the root file system is mounted
//!     mounts/                without a mount, where ids are shifted: what the overlay's options name
//!   meta/namespace.json      the id mappings of the store, as GrootFS writes them
//! STORE.backing-store        the file that the whole store lies on, when it was given a size
//! ```
//!
//! The directory of an image is made before its snapshot and goes after it, so that `delete` finds what a crash left, and
//! an id is taken by one `create` only. A snapshot is named by the SHA-256 of the id: ids are any names of files.

mod arguments;
mod command;
mod config;
mod dropsonde;
mod error;
mod host;
mod image_source;
mod lager;
mod layout;
mod metrics;
mod namespace;
mod runtime_spec;
mod yaml;

use std::ffi::OsString;
use std::io::{self, Write};

pub use arguments::definition;
pub use host::{Host, OpenStore};

use loam_sys::without_error_numbers;

use arguments::Arguments;
use command::Session;
use config::Config;

/// What one run comes to: 0, or 1.
pub type ExitCode = u8;

/// Runs the door with the words after its name. Results and errors go to `out`.
pub fn run(words: impl IntoIterator<Item = OsString>, host: &dyn Host, out: &mut dyn Write) -> ExitCode {
    let (text, exit) = match answer(words, host) {
        Ok(text) => (text, 0),
        Err(error) => (without_error_numbers(&error.to_string()).into_owned(), 1),
    };
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = write!(out, "{text}{end}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
        _ => exit,
    }
}

fn answer(words: impl IntoIterator<Item = OsString>, host: &dyn Host) -> Result<String, error::GrootfsError> {
    let arguments = match Arguments::read(words)? {
        Ok(arguments) => arguments,
        Err(help) => return Ok(help),
    };
    host.check()?;
    let config = Config::read(&arguments.global)?;
    lager::start(&config)?;
    let session = Session { config, host };
    session.run(arguments.command)
}
