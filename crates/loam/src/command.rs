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
mod on_demand;
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
mod update;
mod version;
mod wait;

use clap::{Args, Subcommand, ValueEnum};
use loam_model::Failure;

use crate::exit::Exit;
use crate::wiring::Wiring;
use crate::{output, render};
use on_demand::OnDemand;
pub(crate) use on_demand::ask_for;

/// What every command comes to.
pub(crate) type Outcome = Result<Exit, Failure>;

/// What the commands are called.
const NAMES: [&str; 34] = [
    "run",
    "create",
    "start",
    "ps",
    "exec",
    "logs",
    "attach",
    "stop",
    "kill",
    "pause",
    "unpause",
    "update",
    "wait",
    "rm",
    "inspect",
    "stats",
    "cp",
    "diff",
    "pull",
    "push",
    "images",
    "rmi",
    "image",
    "network",
    "system",
    "import",
    "tag",
    "login",
    "logout",
    "garden-network",
    "grootfs",
    "info",
    "version",
    "settle",
];

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a new container
    #[command(disable_help_flag = true, override_usage = "loam run [OPTIONS] IMAGE [COMMAND]...")]
    Run(OnDemand<Box<run::Run>>),
    /// Make a container without starting it
    #[command(disable_help_flag = true, override_usage = "loam create [OPTIONS] IMAGE [COMMAND]...")]
    Create(OnDemand<Box<create::Create>>),
    /// Start containers that were made or have stopped
    Start(OnDemand<start::Start>),
    /// List containers
    Ps(OnDemand<ps::Ps>),
    /// Run a further process in a running container
    #[command(override_usage = "loam exec [OPTIONS] CONTAINER PROGRAM [ARGUMENT]...")]
    Exec(OnDemand<exec::Exec>),
    /// Print what a container has written
    Logs(OnDemand<logs::Logs>),
    /// Connect the terminal to a running container
    Attach(OnDemand<attach::Attach>),
    /// Ask containers to end, and kill them when they don't
    Stop(OnDemand<stop::Stop>),
    /// Send a signal to containers
    Kill(OnDemand<kill::Kill>),
    /// Stop all processes of containers where they stand
    Pause(OnDemand<pause::Pause>),
    /// Let paused containers go on
    Unpause(OnDemand<unpause::Unpause>),
    /// Change the disk limit of containers, running or not
    Update(OnDemand<update::Update>),
    /// Wait until containers have ended, and print their exit codes
    Wait(OnDemand<wait::Wait>),
    /// Remove containers
    Rm(OnDemand<rm::Rm>),
    /// Print everything that is known of containers or images, as JSON
    Inspect(OnDemand<inspect::Inspect>),
    /// Show what running containers use
    Stats(OnDemand<stats::Stats>),
    /// Copy files between a container and the host
    Cp(OnDemand<cp::Cp>),
    /// Show what a container has changed in its image's files: A added, C changed, D deleted
    Diff(OnDemand<diff::Diff>),
    /// Fetch an image
    Pull(OnDemand<pull::Pull>),
    /// Put an image into a registry, and print its digest there
    Push(OnDemand<push::Push>),
    /// List images
    Images(OnDemand<images::Images>),
    /// Remove images
    Rmi(OnDemand<rmi::Rmi>),
    /// Work with images
    #[command(subcommand)]
    Image(OnDemand<image::ImageCommand>),
    /// Work with networks
    #[command(subcommand)]
    Network(OnDemand<network::NetworkCommand>),
    /// Look after images and containers together
    #[command(subcommand)]
    System(OnDemand<system::SystemCommand>),
    /// Make an image from a root file system, a directory or a tar
    Import(OnDemand<import::Import>),
    /// Give an image a further name
    Tag(OnDemand<tag::Tag>),
    /// Log in to a registry, and keep the login
    Login(OnDemand<login::Login>),
    /// Forget the login for a registry
    Logout(OnDemand<login::Logout>),
    /// Attach Garden's containers to networks, as Guardian's external networker
    #[command(
        disable_help_flag = true,
        override_usage = "loam garden-network [FLAGS] --action ACTION --handle HANDLE"
    )]
    GardenNetwork(OnDemand<garden_network::GardenNetwork>),
    /// Keep root file systems for Garden, with the commands and flags of GrootFS
    #[command(disable_help_flag = true, override_usage = "loam grootfs [FLAGS] COMMAND [FLAGS] ...")]
    Grootfs(OnDemand<grootfs::Grootfs>),
    /// Show what this host can do, and where things are
    Info(OnDemand<info::Info>),
    /// Show the version
    Version(OnDemand<version::Version>),
    /// Bring the state of containers up to date after they ended
    #[command(hide = true)]
    Settle(OnDemand<settle::Settle>),
}

impl Command {
    /// Whether it only tells of Loam and the host, and does so on every kernel.
    pub(crate) fn is_about_loam(&self) -> bool {
        matches!(self, Command::Info(_) | Command::Version(_))
    }

    /// Does it.
    pub(crate) fn run(self, wiring: &Wiring) -> Outcome {
        match self {
            Command::Run(command) => command.0.run(wiring),
            Command::Create(command) => command.0.run(wiring),
            Command::Start(command) => command.0.run(wiring),
            Command::Ps(command) => command.0.run(wiring),
            Command::Exec(command) => command.0.run(wiring),
            Command::Logs(command) => command.0.run(wiring),
            Command::Attach(command) => command.0.run(wiring),
            Command::Stop(command) => command.0.run(wiring),
            Command::Kill(command) => command.0.run(wiring),
            Command::Pause(command) => command.0.run(wiring),
            Command::Unpause(command) => command.0.run(wiring),
            Command::Update(command) => command.0.run(wiring),
            Command::Wait(command) => command.0.run(wiring),
            Command::Rm(command) => command.0.run(wiring),
            Command::Inspect(command) => command.0.run(wiring),
            Command::Stats(command) => command.0.run(wiring),
            Command::Cp(command) => command.0.run(wiring),
            Command::Diff(command) => command.0.run(wiring),
            Command::Pull(command) => command.0.run(wiring),
            Command::Push(command) => command.0.run(wiring),
            Command::Images(command) => command.0.run(wiring),
            Command::Rmi(command) => command.0.run(wiring),
            Command::Image(command) => command.0.run(wiring),
            Command::Network(command) => command.0.run(wiring),
            Command::System(command) => command.0.run(wiring),
            Command::Import(command) => command.0.run(wiring),
            Command::Tag(command) => command.0.run(wiring),
            Command::Login(command) => command.0.run(wiring),
            Command::Logout(command) => command.0.run(wiring),
            Command::GardenNetwork(command) => command.0.run(),
            Command::Grootfs(command) => command.0.run(),
            Command::Info(command) => command.0.run(wiring),
            Command::Version(command) => command.0.run(wiring),
            Command::Settle(command) => command.0.run(wiring),
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
