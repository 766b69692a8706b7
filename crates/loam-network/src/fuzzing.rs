//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

use loam_cni::CniError;
use loam_model::Failure;
use serde_json::Value;

use crate::conflist::NetworkList;
use crate::external::{read_net_in, read_up};
use crate::failure::of_plugin;

/// What an external networker gave for `up`: how many ports it has published.
pub fn up(answer: Option<&Value>) -> Result<usize, String> {
    read_up(answer)
}

/// What it gave for `net-in`: the host port.
pub fn net_in(answer: Option<&Value>) -> Result<u16, String> {
    read_net_in(answer)
}

/// A plugin's error as people see it.
pub fn failure(error: CniError) -> Failure {
    of_plugin("attaching to", "n", "x", error)
}

/// A configuration list: its name, and its text, which reads as the same list again.
pub fn list(text: &str) -> Result<(String, String), String> {
    let list = NetworkList::parse(text.to_owned()).map_err(|error| error.to_string())?;
    Ok((list.name, list.text))
}
