//! `loam network disconnect`.

use clap::Args;

use super::{Outcome, named};
use crate::exit::Exit;
use crate::wiring::Wiring;

/// The arguments of `network disconnect`.
#[derive(Args, Debug)]
pub(crate) struct Disconnect {
    /// The network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Disconnect {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        wiring.engine()?.disconnect_network(&self.container, &named(&self.network)?)?;
        Ok(Exit::SUCCESS)
    }
}
