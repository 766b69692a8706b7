//! A host of its own for each end-to-end test, and the built `loam` program on it.

mod alone;
pub mod cgroup;
pub mod grootfs;
mod host;
pub mod memory;
pub mod needs;
pub mod quota;
pub mod trace;
mod wait;

pub use alone::{Alone, alone};
pub use host::{Host, Ran, program};
pub use needs::Need;
pub use trace::Trace;
pub use wait::until;
