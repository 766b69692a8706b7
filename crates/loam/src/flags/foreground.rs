//! The flags of everything that stays with a process.

use clap::{ArgAction, Args};

use super::DetachKeys;

/// The flags of everything that stays with a process.
#[derive(Args, Clone, Debug)]
pub(crate) struct ForegroundFlags {
    /// The keys that let a container with a terminal go on alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: DetachKeys,
    /// Send signals that come here to the process
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = true, action = ArgAction::Set)]
    pub(crate) sig_proxy: bool,
}
