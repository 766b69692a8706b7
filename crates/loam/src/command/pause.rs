//! `loam pause`.

use clap::Args;

use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// The arguments of `pause`.
#[derive(Args, Debug)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            engine.pause(name)?;
            output::print_line(name)
        })
    }
}
