//! The flags of `run` and `create`, and the spec that they make.

mod limits;
mod mounts;
mod security;

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use loam_model::{
    ContainerName, ContainerSpec, ErrorKind, Failure, ImageConfig, PortMapping, RuntimeChoice, UserNamespace,
};

use super::environment::{EnvironmentFlags, labels};
use super::words::{entrypoint, signal_text};
use super::{network, ports};
use limits::LimitFlags;
use mounts::MountFlags;
use security::SecurityFlags;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Always: what the source has now
    Always,
    /// When the store has no such image
    Missing,
    /// Never
    Never,
}

/// The flags that describe a container.
#[derive(Args, Clone, Debug)]
pub(crate) struct ContainerFlags {
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when its process has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// The container's name
    #[arg(long, value_name = "NAME")]
    name: Option<ContainerName>,
    #[command(flatten)]
    environment: EnvironmentFlags,
    #[command(flatten)]
    mounts: MountFlags,
    /// The working directory
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The user and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Run this in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM", value_parser = EntrypointParser)]
    entrypoint: Option<Entrypoint>,
    /// Run loam-init as process 1: it reaps orphans and forwards signals
    #[arg(long)]
    init: bool,
    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    security: SecurityFlags,
    /// The user namespace: auto for one of its own, host for none
    #[arg(long, value_name = "MODE", value_parser = network::user_namespace, help_heading = "Security")]
    userns: Option<UserNamespace>,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]", value_parser = ports::publish,
        action = ArgAction::Append, help_heading = "Network")]
    publish: Vec<Vec<PortMapping>>,
    /// Publish every port that the image exposes on a free port of the host
    #[arg(short = 'P', long, help_heading = "Network")]
    publish_all: bool,
    /// Attach to this network, may be repeated; options: ip, ip6, mac, alias, interface_name, default_route, subnet;
    /// none for loopback alone, host for the host's own
    #[arg(long, visible_alias = "net", value_name = "NAME[:OPTIONS]", help_heading = "Network")]
    network: Vec<String>,
    #[command(flatten)]
    addresses: network::AddressFlags,
    /// A further name that others on the network find the container by
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    network_alias: Vec<String>,
    /// Set a label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Use this OCI runtime, by name or path, in place of the embedded one
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,
    /// The signal that asks the process to end
    #[arg(long, value_name = "SIGNAL", value_parser = signal_text)]
    stop_signal: Option<String>,
    /// How many seconds `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Show no progress while the image is fetched
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// When to fetch the image: always, missing or never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "missing",
        hide_possible_values = true,
        help_heading = "Image"
    )]
    pub(crate) pull: PullPolicy,
    /// The image's platform, when it has several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    pub(crate) platform: Option<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The image, and the command to run in place of the image's own
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "IMAGE", hide = true)]
    words: Vec<String>,
}

/// Words in place of the image's entrypoint.
#[derive(Clone, Debug)]
struct Entrypoint(Vec<String>);

/// clap takes a `Vec` as a sign of a repeated flag, therefore the type of its own.
#[derive(Clone)]
struct EntrypointParser;

impl clap::builder::TypedValueParser for EntrypointParser {
    type Value = Entrypoint;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Entrypoint, clap::Error> {
        let parser = |text: &str| entrypoint(text).map(Entrypoint);
        clap::builder::TypedValueParser::parse_ref(&parser, command, argument, value)
    }
}

impl ContainerFlags {
    /// The image as it was named.
    pub(crate) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The spec, but for what depends on the image.
    pub(crate) fn spec(&self) -> Result<ContainerSpec, Failure> {
        let command = self.words.get(1..).unwrap_or_default();
        Ok(ContainerSpec {
            image: self.image().to_owned(),
            name: self.name.clone(),
            entrypoint: self.entrypoint.as_ref().map(|words| words.0.clone()),
            command: (!command.is_empty()).then(|| command.to_vec()),
            environment: self.environment.collect()?,
            working_directory: self.workdir.clone(),
            user: self.user.clone(),
            hostname: self.hostname.clone(),
            terminal: self.tty,
            open_stdin: self.interactive,
            init: self.init,
            read_only: self.read_only,
            auto_remove: self.rm,
            mounts: self.mounts.collect()?,
            limits: self.limits.collect(),
            security: self.security.collect()?,
            user_namespace: self.userns.unwrap_or_default(),
            network: network::network(&self.network, &self.addresses, &self.network_alias)
                .map_err(|sentence| invalid(&sentence))?,
            ports: self.publish.concat(),
            labels: labels(&self.label_file, &self.labels)?,
            runtime: self.runtime.clone().map_or(RuntimeChoice::Embedded, RuntimeChoice::Program),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
        })
    }

    /// Adds to the spec what depends on the image: with `--publish-all`, its exposed ports that are not published yet.
    pub(crate) fn complete(&self, spec: &mut ContainerSpec, image: &ImageConfig) -> Result<(), Failure> {
        if !self.publish_all {
            return Ok(());
        }
        for text in &image.exposed_ports {
            for port in ports::exposed(text).map_err(|sentence| invalid(&sentence))? {
                let same = |other: &PortMapping| {
                    (other.container_port, other.protocol) == (port.container_port, port.protocol)
                };
                if !spec.ports.iter().any(same) {
                    spec.ports.push(port);
                }
            }
        }
        Ok(())
    }
}

fn invalid(sentence: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, sentence)
}

#[cfg(test)]
mod tests;
