//! What can be asked of registries without a store: what they have, and to be let in.

use std::path::PathBuf;

use crate::{Digest, RegistryOptions, Result};

/// Where a login is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginKeeper {
    /// In this file, for its owner alone to read.
    File(PathBuf),
    /// With a program, `docker-credential-NAME`.
    Helper(String),
}

/// Registries as the person at the terminal deals with them. No part of the image seam: a store can do without.
pub trait Registries: Send + Sync {
    /// The tags of a repository, in order.
    fn tags(&self, repository: &str, options: &RegistryOptions) -> Result<Vec<String>>;

    /// Removes an image from its registry, by its digest and so with all tags that point to it; gives the digest.
    fn remove(&self, name: &str, options: &RegistryOptions) -> Result<Digest>;

    /// Keeps a login for a registry (`host[:port]`, or with a path for a part of it) after the registry has taken it.
    fn log_in(
        &self,
        registry: &str,
        user: &str,
        password: &str,
        options: &RegistryOptions,
    ) -> Result<LoginKeeper>;

    /// Forgets a login; an error when there is none.
    fn log_out(&self, registry: &str, options: &RegistryOptions) -> Result<()>;
}
