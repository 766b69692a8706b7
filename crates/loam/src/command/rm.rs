//! `loam rm`.

use clap::Args;
use loam_model::ErrorKind;

use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// The flags of `rm`.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Kill those that run; one that does not exist is no failure
    #[arg(short, long)]
    force: bool,
    /// Remove all containers that do not run, with --force all
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
    /// Names or ids
    #[arg(required_unless_present = "all", value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        let names = match self.all {
            false => self.containers,
            true => {
                let all = engine.list(true)?.into_iter();
                let wanted = all.filter(|container| self.force || !container.state.is_live());
                wanted.map(|container| container.id.to_string()).collect()
            }
        };
        each(&names, |name| match engine.remove(name, self.force) {
            Err(failure) if self.force && failure.kind() == ErrorKind::NotFound => Ok(()),
            result => result.and_then(|_| output::print_line(name)),
        })
    }
}
