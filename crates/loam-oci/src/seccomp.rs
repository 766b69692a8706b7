//! Seccomp: Loam's own profile, profiles of others, and the programs that the kernel runs.
//!
//! A profile is data (runtime specification, config-linux.md, "Seccomp"); it goes into `config.json`, so that every
//! runtime enforces the same. The embedded runtime has it compiled by libseccomp. That takes milliseconds, so the
//! program is kept in a cache:
//!
//! ```text
//! DIRECTORY/seccomp/HASH.bpf   0600, in a directory of mode 0700: a program, as the kernel takes it
//! ```
//!
//! `HASH` is the SHA-256 of everything that the program depends on. Files are written beside and renamed; a file that is
//! not root's own, or can't be a program, is made anew. Deleting the directory at any time costs only the time.

mod cache;
mod compile;
mod default_profile;
mod document;
mod error;
mod syscalls;
#[cfg(test)]
mod tests;
mod unknown;

use loam_model::Result;
use loam_model::oci_spec::runtime::{Capabilities, LinuxSeccomp};

pub(crate) use error::SeccompError;

pub use cache::compile_cached;

/// A program for seccomp(2), ready to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The classic BPF program: `struct sock_filter` after `struct sock_filter`, in the machine's byte order.
    pub program: Vec<u8>,
    /// The `SECCOMP_FILTER_FLAG_…` bits for seccomp(2).
    pub flags: u32,
}

/// Compiles a profile.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter> {
    Ok(compile::filter(profile)?)
}

/// Loam's own profile for a container with these capabilities in its bounding set.
pub fn default_profile(bounding: &Capabilities) -> LinuxSeccomp {
    default_profile::build(bounding, false)
}

/// The same for a container whose disk is limited and that has no user namespace: a project quota holds it only when it
/// can't change the flags of its directories either.
pub fn default_profile_with_fixed_projects(bounding: &Capabilities) -> LinuxSeccomp {
    default_profile::build(bounding, true)
}

/// Reads a profile that a person gives: the JSON of the runtime specification, or the form that Docker uses, with
/// conditions on capabilities, architectures and kernel version, which are resolved here.
pub fn profile_from_json(text: &str, bounding: &Capabilities) -> Result<LinuxSeccomp> {
    Ok(document::resolve(text, &document::Host::this(bounding))?)
}

/// Converts what went wrong with a profile for callers outside.
impl From<SeccompError> for loam_model::Failure {
    fn from(error: SeccompError) -> Self {
        error.into_failure()
    }
}
