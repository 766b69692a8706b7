//! `loam garden-network`, as it stands in the list of commands. Its words are read elsewhere: see
//! [`crate::garden_network`].

use clap::Args;
use loam_model::{ErrorKind, Failure};

use super::Outcome;

/// Whatever follows.
#[derive(Args, Debug)]
pub(crate) struct GardenNetwork {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

impl GardenNetwork {
    /// Only flags before the command lead here.
    pub(crate) fn run(self) -> Outcome {
        tracing::debug!(words = self.words.len(), "the words of `garden-network` come too late");
        let message = "`garden-network` has flags of its own, and takes none before it";
        Err(Failure::new(ErrorKind::Invalid, message)
            .hint("write `loam garden-network --root DIR … --action ACTION --handle HANDLE`"))
    }
}
