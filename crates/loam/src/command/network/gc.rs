//! `loam network gc`.

use clap::Args;
use loam_model::Collected;

use super::{FormatFlag, Outcome, named};
use crate::exit::Exit;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `network gc`.
#[derive(Args, Debug)]
pub(crate) struct Gc {
    /// Only on this network
    #[arg(value_name = "NETWORK")]
    network: Option<String>,
    #[command(flatten)]
    format: FormatFlag,
}

impl Gc {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let name = self.network.as_deref().map(named).transpose()?;
        let collected = wiring.engine()?.collect_networks(name.as_ref())?;
        if self.format.is_json() {
            output::print_json(&collected)?;
        } else {
            output::print(&text(&collected))?;
        }
        Ok(Exit::SUCCESS)
    }
}

fn text(collected: &Collected) -> String {
    let gone = collected.attachments.iter();
    gone.map(|known| format!("detached {} of {}\n", known.interface, known.container.short())).collect()
}
