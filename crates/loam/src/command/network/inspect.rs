//! `loam network inspect`.

use clap::Args;

use super::{Outcome, each, named};
use crate::output;
use crate::wiring::Wiring;

/// The arguments of `network inspect`.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Names
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Inspect {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        let mut found = Vec::new();
        let exit = each(&self.networks, |name| {
            found.push(engine.inspect_network(&named(name)?)?);
            Ok(())
        })?;
        output::print_json(&found)?;
        Ok(exit)
    }
}
