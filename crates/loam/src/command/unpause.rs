//! `loam unpause`.

use clap::Args;

use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// The arguments of `unpause`.
#[derive(Args, Debug)]
pub(crate) struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Unpause {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            engine.resume(name)?;
            output::print_line(name)
        })
    }
}
