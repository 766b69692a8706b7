//! The targets, a file each.

pub mod answers;
pub mod archive;
pub mod bus;
pub mod compression;
pub mod documents;
pub mod image_files;
pub mod leases;
pub mod names;
pub mod plugins;
pub mod settings;
pub mod unpack;

use crate::Target;

/// All targets. Those that take longest to find their way begin first.
pub const TARGETS: [Target; 11] = [
    unpack::TARGET,
    archive::TARGET,
    documents::TARGET,
    image_files::TARGET,
    compression::TARGET,
    settings::TARGET,
    answers::TARGET,
    names::TARGET,
    leases::TARGET,
    plugins::TARGET,
    bus::TARGET,
];

/// The first byte, which selects one of several ways, and the rest. Nothing when there is none.
fn selected(bytes: &[u8]) -> Option<(u8, &[u8])> {
    bytes.split_first().map(|(first, rest)| (*first, rest))
}

/// A seed for one of the ways.
fn seed(selector: u8, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [&[selector], rest.as_ref()].concat()
}
