//! `loam system …`.

mod check;
mod df;

use clap::Subcommand;

use super::{FormatFlag, Outcome};
use crate::wiring::Wiring;

/// What can be done with everything at once.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Hold every layer against its digest, and repair those that are damaged; exits with 1 when one is
    Check(check::Check),
    /// Show what images and containers take on the disk
    Df(df::Df),
}

impl SystemCommand {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        match self {
            SystemCommand::Check(command) => command.run(wiring),
            SystemCommand::Df(command) => command.run(wiring),
        }
    }
}
