//! `loam network reload`.

use clap::Args;

use super::Outcome;
use crate::exit::Exit;
use crate::render;
use crate::wiring::Wiring;

/// The arguments of `network reload`.
#[derive(Args, Debug)]
pub(crate) struct Reload {
    /// Stay, and put them back whenever something removes them
    #[arg(long)]
    watch: bool,
}

impl Reload {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        if self.watch {
            engine.watch_networks(&mut || render::notice("the firewall's rules were put back"))?;
        } else {
            engine.reload_networks()?;
        }
        Ok(Exit::SUCCESS)
    }
}
