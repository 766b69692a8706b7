//! A host of its own for each end-to-end test, and the built `loam` program on it.

mod host;
mod wait;

pub use host::{Host, Ran};
pub use wait::until;
