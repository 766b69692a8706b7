//! The flags of containers: Docker's words and syntax, turned into the model's. Every parser is a pure function from
//! text; what comes from the environment or from files is handed in.

mod container;
mod detach_keys;
mod devices;
mod duration;
mod environment;
mod filter;
mod foreground;
mod id_range;
mod image_change;
mod image_filter;
mod image_pattern;
mod mount;
mod network;
mod options;
mod ports;
mod process;
mod quantity;
mod registry;
mod security;
mod share;
pub(crate) mod words;

pub(crate) use container::{ContainerFlags, PullPolicy};
pub(crate) use detach_keys::DetachKeys;
pub(crate) use duration::{parse_duration, parse_patience, parse_since};
pub(crate) use environment::labels;
pub(crate) use filter::Filter;
pub(crate) use foreground::ForegroundFlags;
pub(crate) use id_range::{id_mapping, parse_id_range};
pub(crate) use image_change::apply_change;
pub(crate) use image_filter::ImageFilter;
pub(crate) use image_pattern::ImagePattern;
pub(crate) use network::{AddressFlags, network_name};
pub(crate) use process::ProcessFlags;
pub(crate) use quantity::storage_option;
pub(crate) use registry::RegistryFlags;
pub(crate) use share::parse_share;
pub(crate) use words::signal;

/// What a parser says of a text that it does not understand: one sentence.
pub(crate) type Parsed<T> = Result<T, String>;
