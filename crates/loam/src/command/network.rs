//! `loam network …`.

mod bench;

use clap::Subcommand;

use super::Outcome;
use crate::wiring::Wiring;

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Measure CNI plugins, Loam's and others', in a network of their own
    Bench(Box<bench::Bench>),
}

impl NetworkCommand {
    pub(super) fn run(self, _wiring: &Wiring) -> Outcome {
        match self {
            NetworkCommand::Bench(command) => command.run(),
        }
    }
}
