//! The keeper of leases: one process, one thread, one loop over its socket, its callers, the packet sockets of leases that
//! are just being asked for, and the next moment at which one must be.
//!
//! When its socket's name is gone, the keeper listens under it anew; when another socket has taken the name, it ends and leaves
//! its leases to whoever listens there, on disk or by handing them over ([`handover`]).
//!
//! A caller that goes away while it waits takes its request with it. Callers must be root or the keeper's own user. What a
//! caller or a server sends is bounded before it is looked at, and nobody is waited for.

mod arguments;
mod connection;
mod handover;
mod keep;
mod lease;
mod listener;
mod lock;
mod log;
mod names;
mod random;
mod records;
mod run;
mod serve;
mod start;

use std::io::Write;
use std::path::Path;

use loam_sys::{kernel, without_error_numbers};

pub(crate) use records::directory as records_directory;

use crate::place::Interfaces;
use arguments::{Arguments, Wish};

/// How a keeper is called: `loam-cni dhcp daemon …`, or `keep` for one that goes to the background and ends with its last
/// lease.
pub fn main(
    words: &[String],
    variable: impl Fn(&str) -> Option<String>,
    errors: &mut dyn Write,
    interfaces: &'static dyn Interfaces,
) -> std::io::Result<u8> {
    let wish = match Arguments::parse(words) {
        Ok(wish) => wish,
        Err(told) => {
            writeln!(errors, "dhcp: {told}")?;
            errors.write_all(arguments::HELP.as_bytes())?;
            return Ok(2);
        }
    };
    if let Some(objection) = kernel::objection(&kernel::release())
        && !matches!(wish, Wish::Help)
    {
        writeln!(errors, "dhcp: {objection}")?;
        return Ok(1);
    }
    let ended = match wish {
        Wish::Help => {
            errors.write_all(arguments::HELP.as_bytes())?;
            return Ok(0);
        }
        Wish::Daemon(arguments) => run::daemon(&arguments, variable, errors, interfaces),
        Wish::Keep(arguments) => start::start(&arguments),
        Wish::Background(arguments) => start::background(&arguments, interfaces),
    };
    match ended {
        Ok(()) => Ok(0),
        Err(error) => {
            writeln!(errors, "dhcp: {}", without_error_numbers(&error))?;
            Ok(1)
        }
    }
}

/// Whether the first argument asks for a keeper rather than for the plugin.
pub fn is_meant(word: Option<&str>) -> bool {
    matches!(word, Some("daemon" | "keep" | "background"))
}

/// The step of a keeper that failed.
fn step(what: impl std::fmt::Display, path: &Path, cause: impl std::fmt::Display) -> String {
    format!("{what} `{}` failed: {cause}", path.display())
}
