//! The commands, one file each.

mod attach;
mod cp;
mod create;
mod diff;
mod exec;
mod garden_network;
mod grootfs;
mod image;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod login;
mod logs;
mod network;
mod pause;
mod ps;
mod pull;
mod push;
mod remote;
mod rm;
mod rmi;
mod run;
mod settle;
mod start;
mod stats;
mod stay;
mod stop;
mod system;
mod tag;
mod unpause;
mod version;
mod wait;

use clap::{Args, Subcommand, ValueEnum};
use loam_model::Failure;

use crate::exit::Exit;
use crate::wiring::Wiring;
use crate::{output, render};

/// What every command comes to.
pub(crate) type Outcome = Result<Exit, Failure>;

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container
    #[command(disable_help_flag = true, override_usage = "loam run [OPTIONS] IMAGE [COMMAND]...")]
    Run(Box<run::Run>),
    /// Make a container without starting it
    #[command(disable_help_flag = true, override_usage = "loam create [OPTIONS] IMAGE [COMMAND]...")]
    Create(Box<create::Create>),
    /// Start containers that were made or have stopped
    Start(start::Start),
    /// List containers
    Ps(ps::Ps),
    /// Run a further process in a running container
    #[command(override_usage = "loam exec [OPTIONS] CONTAINER PROGRAM [ARGUMENT]...")]
    Exec(exec::Exec),
    /// Print what a container has written
    Logs(logs::Logs),
    /// Connect the terminal to a running container
    Attach(attach::Attach),
    /// Ask containers to end, and kill them when they don't
    Stop(stop::Stop),
    /// Send a signal to containers
    Kill(kill::Kill),
    /// Stop all processes of containers where they stand
    Pause(pause::Pause),
    /// Let paused containers go on
    Unpause(unpause::Unpause),
    /// Wait until containers have ended, and print their exit codes
    Wait(wait::Wait),
    /// Remove containers
    Rm(rm::Rm),
    /// Print everything that is known of containers or images, as JSON
    Inspect(inspect::Inspect),
    /// Show what running containers use
    Stats(stats::Stats),
    /// Copy files between a container and the host
    Cp(cp::Cp),
    /// Show what a container has changed in its image's files: A added, C changed, D deleted
    Diff(diff::Diff),
    /// Fetch an image
    Pull(pull::Pull),
    /// Put an image into a registry, and print its digest there
    Push(push::Push),
    /// List images
    Images(images::Images),
    /// Remove images
    Rmi(rmi::Rmi),
    /// Work with images
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Work with networks
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Look after images and containers together
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Make an image from a root file system, a directory or a tar
    Import(import::Import),
    /// Give an image a further name
    Tag(tag::Tag),
    /// Log in to a registry, and keep the login
    Login(login::Login),
    /// Forget the login for a registry
    Logout(login::Logout),
    /// Attach Garden's containers to networks, as Guardian's external networker
    #[command(
        disable_help_flag = true,
        override_usage = "loam garden-network [FLAGS] --action ACTION --handle HANDLE"
    )]
    GardenNetwork(garden_network::GardenNetwork),
    /// Keep root file systems for Garden, with the commands and flags of GrootFS
    #[command(disable_help_flag = true, override_usage = "loam grootfs [FLAGS] COMMAND [FLAGS] ...")]
    Grootfs(grootfs::Grootfs),
    /// Show what this host can do, and where things are
    Info(info::Info),
    /// Show the version
    Version(version::Version),
    /// Bring the state of containers up to date after they ended
    #[command(hide = true)]
    Settle(settle::Settle),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self, wiring: &Wiring) -> Outcome {
        match self {
            Command::Run(command) => command.run(wiring),
            Command::Create(command) => command.run(wiring),
            Command::Start(command) => command.run(wiring),
            Command::Ps(command) => command.run(wiring),
            Command::Exec(command) => command.run(wiring),
            Command::Logs(command) => command.run(wiring),
            Command::Attach(command) => command.run(wiring),
            Command::Stop(command) => command.run(wiring),
            Command::Kill(command) => command.run(wiring),
            Command::Pause(command) => command.run(wiring),
            Command::Unpause(command) => command.run(wiring),
            Command::Wait(command) => command.run(wiring),
            Command::Rm(command) => command.run(wiring),
            Command::Inspect(command) => command.run(wiring),
            Command::Stats(command) => command.run(wiring),
            Command::Cp(command) => command.run(wiring),
            Command::Diff(command) => command.run(wiring),
            Command::Pull(command) => command.run(wiring),
            Command::Push(command) => command.run(wiring),
            Command::Images(command) => command.run(wiring),
            Command::Rmi(command) => command.run(wiring),
            Command::Image(command) => command.run(wiring),
            Command::Network(command) => command.run(wiring),
            Command::System(command) => command.run(wiring),
            Command::Import(command) => command.run(wiring),
            Command::Tag(command) => command.run(wiring),
            Command::Login(command) => command.run(wiring),
            Command::Logout(command) => command.run(wiring),
            Command::GardenNetwork(command) => command.run(),
            Command::Grootfs(command) => command.run(),
            Command::Info(command) => command.run(wiring),
            Command::Version(command) => command.run(wiring),
            Command::Settle(command) => command.run(wiring),
        }
    }
}

/// In which form a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The flag that chooses it.
#[derive(Args, Clone, Debug)]
pub(crate) struct FormatFlag {
    /// Print a table, or json
    #[arg(
        long,
        short = 'o',
        visible_alias = "format",
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    output: Format,
}

impl FormatFlag {
    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Format::Json
    }
}

/// Does something for each name, whatever comes of the others; the exit code is that of the first failure.
fn each(names: &[String], mut work: impl FnMut(&str) -> Result<(), Failure>) -> Outcome {
    let mut exit = Exit::SUCCESS;
    for name in names {
        let Err(failure) = work(name) else { continue };
        if output::is_closed(&failure) {
            return Err(failure);
        }
        let code = render::failure(&failure);
        if exit == Exit::SUCCESS {
            exit = code;
        }
    }
    Ok(exit)
}
