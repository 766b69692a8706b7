//! What tests share: fixture images, registries honest and hostile, leak checks.
//!
//! - [`archives`]: tar archives, written without any regard for sense.
//! - [`images`]: images made by other people's tools, built once and kept.
//! - [`registry`]: Debian's `docker-registry` on a free port of the loopback interface.
//! - [`hostile`]: a registry that lies, stalls and cuts as a test wants it.
//! - [`lab`]: a network host of a test's own, with containers that are bare namespaces.
//! - [`leaks`]: what a host had before a test and what it has after.
//! - [`message_bus`]: a D-Bus with made-up services.
//! - [`needs`]: what a test needs of whoever runs it.
//! - [`own_program`](own_program()): where Loam's own programs are.
//! - [`program`]: other people's programs, run with errors that can be read.
//! - [`seams`]: the seams simulated in memory.
//!
//! Everything here panics with a sentence when it can't do its work: its callers are tests.

pub mod archives;
pub mod hostile;
pub mod images;
pub mod lab;
pub mod leaks;
pub mod message_bus;
pub mod needs;
mod own_program;
pub mod program;
pub mod registry;
pub mod seams;

pub use needs::is_root;
pub use own_program::own_program;
