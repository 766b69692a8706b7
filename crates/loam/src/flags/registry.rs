//! How a registry is spoken to.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use loam_model::RegistryOptions;

/// The flags of commands that speak to a registry.
#[derive(Args, Clone, Debug)]
pub(crate) struct RegistryFlags {
    /// Speak HTTP, or HTTPS with any certificate, to the registry
    #[arg(long)]
    insecure: bool,
    /// Check the registry's certificate; false is the same as --insecure
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = true, action = ArgAction::Set)]
    tls_verify: bool,
    /// Read credentials from this file in place of the usual ones
    #[arg(long, env = "REGISTRY_AUTH_FILE", hide_env = true, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

impl RegistryFlags {
    /// Whether plain HTTP and any certificate will do.
    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure || !self.tls_verify
    }

    /// The same for the model.
    pub(crate) fn options(&self) -> RegistryOptions {
        RegistryOptions { insecure: self.is_insecure(), credentials_file: self.authfile.clone() }
    }
}
