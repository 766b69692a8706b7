//! `loam grootfs`, as it stands in the list of commands. Its words are read elsewhere: see [`crate::grootfs`].

use clap::Args;
use loam_model::{ErrorKind, Failure};

use super::Outcome;

/// Whatever follows.
#[derive(Args, Debug)]
pub(crate) struct Grootfs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

impl Grootfs {
    /// Only flags before the command lead here.
    pub(crate) fn run(self) -> Outcome {
        tracing::debug!(words = self.words.len(), "the words of `grootfs` come too late");
        let message = "`grootfs` has flags of its own, and takes none before it";
        Err(Failure::new(ErrorKind::Invalid, message).hint("write `loam grootfs --store DIR …`"))
    }
}
