//! `loam stop`.

use std::time::Duration;

use clap::Args;

use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// The flags of `stop`.
#[derive(Args, Debug)]
pub(crate) struct Stop {
    /// How many seconds to wait before killing; the container's own time, else 10
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    time: Option<u64>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            engine.stop(name, self.time.map(Duration::from_secs))?;
            output::print_line(name)
        })
    }
}
