//! `loam kill`.

use clap::Args;

use super::{Outcome, each};
use crate::wiring::Wiring;
use crate::{flags, output};

/// The flags of `kill`.
#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = flags::signal)]
    signal: i32,
    /// Send it to every process of the container
    #[arg(long)]
    all: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        each(&self.containers, |name| {
            engine.kill(name, self.signal, self.all)?;
            output::print_line(name)
        })
    }
}
