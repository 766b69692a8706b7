//! The caller that is killed: a process that attaches one container, as a runtime does.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use loam_cni::protocol::Version;
use serde::{Deserialize, Serialize};

use crate::chain::{Chain, Endpoint, Way};
use crate::list::MeasuredList;

/// What it says right before ADD.
pub(crate) const READY: &str = "ready";
/// What it says when ADD has succeeded.
pub(crate) const DONE: &str = "done";

/// What it is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Errand {
    list: MeasuredList,
    way: Way,
    version: String,
    time_limit: Duration,
    endpoint: Endpoint,
}

impl Errand {
    /// ADD of a container through a chain.
    pub(crate) fn new(chain: &Chain, endpoint: &Endpoint) -> Self {
        let (list, way, version, time_limit) = chain.parts();
        Self { list, way, version: version.to_owned(), time_limit, endpoint: endpoint.clone() }
    }
}

/// Reads what is to be done from one line, does it, and says a word before and one after.
pub fn call_once(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let errand: Errand = serde_json::from_str(&line)?;
    let version = Version::parse(&errand.version).map_err(io::Error::other)?;
    let chain = Chain::new(&errand.list, errand.way, version, errand.time_limit).map_err(io::Error::other)?;
    writeln!(output, "{READY}")?;
    output.flush()?;
    match chain.add(&errand.endpoint) {
        Ok(_) => writeln!(output, "{DONE}"),
        Err(error) => writeln!(output, "{error}"),
    }
}
