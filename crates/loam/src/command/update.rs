//! `loam update`.

use clap::Args;

use super::{Outcome, each};
use crate::flags::storage_option;
use crate::output;
use crate::wiring::Wiring;

/// The arguments of `update`.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// size=SIZE: limit what is written to the root file system from now on
    #[arg(long, required = true, value_name = "OPTION", value_parser = storage_option)]
    storage_opt: u64,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Update {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            engine.change_disk_limit(name, self.storage_opt)?;
            output::print_line(name)
        })
    }
}
