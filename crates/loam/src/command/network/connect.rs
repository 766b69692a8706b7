//! `loam network connect`.

use clap::Args;
use loam_model::NetworkChoice;

use super::{Outcome, named};
use crate::exit::Exit;
use crate::flags::AddressFlags;
use crate::wiring::Wiring;

/// The flags of `network connect`.
#[derive(Args, Debug)]
pub(crate) struct Connect {
    #[command(flatten)]
    addresses: AddressFlags,
    /// A further name that others on the network find the container by
    #[arg(long = "alias", value_name = "NAME", help_heading = "Network")]
    aliases: Vec<String>,
    /// The network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Connect {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let mut choice = NetworkChoice::from(named(&self.network)?);
        self.addresses.add_to(&mut choice.options, &self.aliases);
        wiring.engine()?.connect_network(&self.container, &choice)?;
        Ok(Exit::SUCCESS)
    }
}
