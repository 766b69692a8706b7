//! The shim's program with the embedded runtime on the real kernel, driven through the supervisor.

#![expect(clippy::unwrap_used, reason = "all of it is tests")]
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod archives;
mod attach;
mod fixture;
mod hygiene;
mod life;
mod pressure;
mod processes;
