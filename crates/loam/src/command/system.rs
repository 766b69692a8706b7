//! `loam system …`.

mod df;

use clap::Subcommand;

use super::Outcome;
use crate::wiring::Wiring;

/// What can be done with everything at once.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what images and containers take on the disk
    Df(df::Df),
}

impl SystemCommand {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        match self {
            SystemCommand::Df(command) => command.run(wiring),
        }
    }
}
