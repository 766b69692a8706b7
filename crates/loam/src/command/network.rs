//! `loam network …`.

mod bench;
mod check;
mod connect;
mod create;
mod disconnect;
mod gc;
mod inspect;
mod ls;
mod prune;
mod reload;
mod rm;

use clap::Subcommand;
use loam_model::{ErrorKind, Failure, NetworkName};

use super::{FormatFlag, Outcome, each};
use crate::flags::network_name;
use crate::wiring::Wiring;

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Measure CNI plugins, Loam's and others', in a network of their own
    Bench(Box<bench::Bench>),
    /// Find out whether networks work, and their containers are attached as they were; exits with 1 when not
    Check(check::Check),
    /// Put a container on one network more
    Connect(connect::Connect),
    /// Make a network
    Create(Box<create::Create>),
    /// Take a container off a network
    Disconnect(disconnect::Disconnect),
    /// Remove what no container has any more: addresses, interfaces, rules
    Gc(gc::Gc),
    /// Print everything that is known of networks, as JSON
    Inspect(inspect::Inspect),
    /// List networks
    Ls(ls::Ls),
    /// Remove networks that no container is meant to be on
    Prune(prune::Prune),
    /// Put the firewall's rules back after something else removed them
    Reload(reload::Reload),
    /// Remove networks
    Rm(rm::Rm),
}

impl NetworkCommand {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        match self {
            NetworkCommand::Bench(command) => command.run(),
            NetworkCommand::Check(command) => command.run(wiring),
            NetworkCommand::Connect(command) => command.run(wiring),
            NetworkCommand::Create(command) => command.run(wiring),
            NetworkCommand::Disconnect(command) => command.run(wiring),
            NetworkCommand::Gc(command) => command.run(wiring),
            NetworkCommand::Inspect(command) => command.run(wiring),
            NetworkCommand::Ls(command) => command.run(wiring),
            NetworkCommand::Prune(command) => command.run(wiring),
            NetworkCommand::Reload(command) => command.run(wiring),
            NetworkCommand::Rm(command) => command.run(wiring),
        }
    }
}

/// The name of a network, as a failure when it can't be one.
fn named(text: &str) -> Result<NetworkName, Failure> {
    network_name(text).map_err(|sentence| Failure::new(ErrorKind::Invalid, sentence))
}
