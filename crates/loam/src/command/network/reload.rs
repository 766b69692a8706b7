//! `loam network reload`.

use clap::Args;

use super::Outcome;
use crate::exit::Exit;
use crate::wiring::Wiring;

/// The arguments of `network reload`: none.
#[derive(Args, Debug)]
pub(crate) struct Reload {}

impl Reload {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        wiring.engine()?.reload_networks()?;
        Ok(Exit::SUCCESS)
    }
}
