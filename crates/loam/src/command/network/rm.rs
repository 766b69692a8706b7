//! `loam network rm`.

use clap::Args;

use super::{Outcome, each, named};
use crate::output;
use crate::wiring::Wiring;

/// The flags of `network rm`.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Also when containers that don't run would be on it at their next start
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Rm {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.networks, |name| {
            engine.remove_network(&named(name)?, self.force)?;
            output::print_line(name)
        })
    }
}
