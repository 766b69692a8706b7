//! `loam stop`.

use std::time::Duration;

use clap::Args;

use super::{Outcome, each};
use crate::flags::parse_patience;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `stop`.
#[derive(Args, Debug)]
pub(crate) struct Stop {
    /// How many seconds to wait before killing, -1 for ever; the container's own time, else 10
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", value_parser = parse_patience,
        allow_negative_numbers = true)]
    time: Option<Duration>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            engine.stop(name, self.time)?;
            output::print_line(name)
        })
    }
}
