//! `loam wait`.

use clap::Args;

use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// The arguments of `wait`.
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            let record = engine.wait(name)?;
            output::print_line(&record.status.shell_code().to_string())
        })
    }
}
