//! `loam network prune`.

use clap::Args;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `network prune`.
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// For scripts written for other engines: nothing is asked either way
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    format: FormatFlag,
}

impl Prune {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let removed = wiring.engine()?.prune_networks()?;
        if self.format.is_json() {
            output::print_json(&removed)?;
        } else {
            output::print(&removed.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        }
        Ok(Exit::SUCCESS)
    }
}
