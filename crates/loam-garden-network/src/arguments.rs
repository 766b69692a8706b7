//! The command line: options, then what Guardian adds.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, ValueEnum};
use ipnet::IpNet;
use loam_model::NetworkName;

use crate::error::NetworkerError;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "garden-network",
    about = "Attaches Garden's containers to networks, as Guardian's external networker",
    version,
    args_override_self = false,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
    #[command(flatten)]
    pub(crate) policy: PolicyOptions,
    #[command(flatten)]
    pub(crate) ports: PortOptions,
    /// A name server for the containers; may be repeated
    #[arg(long = "dns-server", value_name = "ADDRESS")]
    pub(crate) dns_servers: Vec<IpAddr>,
    /// A search domain for the containers; may be repeated
    #[arg(long = "search-domain", value_name = "DOMAIN")]
    pub(crate) search_domains: Vec<String>,
    /// What to do
    #[arg(long, value_enum)]
    pub(crate) action: Action,
    /// The container
    #[arg(long)]
    pub(crate) handle: String,
}

/// What Guardian asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    /// Attach
    Up,
    /// Detach
    Down,
    /// Publish a port
    NetIn,
    /// Add a rule on what may be reached
    NetOut,
    /// Add rules on what may be reached
    BulkNetOut,
}

/// Which network, and where it is kept.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The state directory
    #[arg(long, value_name = "DIR", env = "LOAM_ROOT", hide_env = true, default_value = "/var/lib/loam")]
    pub root: PathBuf,
    /// The directory of what a restart of the machine empties
    #[arg(long, value_name = "DIR", env = "LOAM_RUN", hide_env = true, default_value = "/run/loam")]
    pub run: PathBuf,
    /// The network; made when it does not exist
    #[arg(long, value_name = "NAME", default_value = "garden")]
    pub network: NetworkName,
    /// The addresses of the network when it is made; may be repeated, once for each family
    #[arg(long = "network-pool", value_name = "SUBNET", default_value = "10.254.0.0/22")]
    pub pool: Vec<IpNet>,
    /// The MTU of the network when it is made
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// The first host port of the pool for requests that name none
    #[arg(long, value_name = "PORT", default_value_t = 61001)]
    pub port_pool_start: u16,
    /// How many host ports the pool has
    #[arg(long, value_name = "NUMBER", default_value_t = 4534, value_parser = clap::value_parser!(u16).range(1..))]
    pub port_pool_size: u16,
}

impl NetworkOptions {
    /// The host ports that are given to who asks for any.
    pub fn port_pool(&self) -> std::ops::RangeInclusive<u16> {
        self.port_pool_start..=self.port_pool_start.saturating_add(self.port_pool_size.saturating_sub(1))
    }
}

/// What containers may reach.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PolicyOptions {
    /// A network that is refused unless a rule allows it; may be repeated
    #[arg(long = "deny-network", value_name = "SUBNET")]
    pub(crate) deny_networks: Vec<IpNet>,
    /// Refuse everything that no rule allows
    #[arg(long)]
    pub(crate) deny_by_default: bool,
    /// Let containers reach this host itself
    #[arg(long)]
    pub(crate) allow_host_access: bool,
    /// The most TCP connections a second to one address and port
    #[arg(long, value_name = "NUMBER")]
    pub(crate) connections_per_second: Option<u32>,
    /// Connections beyond that at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, requires = "connections_per_second")]
    pub(crate) connections_burst: u32,
    /// Write all that is refused to the kernel's log
    #[arg(long)]
    pub(crate) log_refused: bool,
    /// The most lines of the kernel's log a second for each container
    #[arg(long, value_name = "NUMBER")]
    pub(crate) logs_per_second: Option<u32>,
}

/// Where ports are published.
#[derive(Args, Clone, Debug)]
pub(crate) struct PortOptions {
    /// The host's address at which ports are published; all when absent
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) external_ip: Option<IpAddr>,
}

impl Arguments {
    /// Reads the words after the program's name; gives the text of help when that is asked for.
    pub(crate) fn read(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Result<Self, String>, NetworkerError> {
        let words = std::iter::once(OsString::from("garden-network")).chain(words);
        match Self::try_parse_from(words) {
            Ok(arguments) => Ok(Ok(arguments)),
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(NetworkerError::Usage(sentence(&error))),
        }
    }
}

/// What clap says, in one line: up to the first empty one are the sentence and what it lists.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
    let listed: Vec<&str> = lines.collect();
    format!("{first} {}", listed.join(", ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn refused(line: &str) -> String {
        match Arguments::read(line.split_whitespace().map(OsString::from)) {
            Err(error) => error.chain(),
            read => panic!("it is read: {read:?}"),
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_in_one_line() {
        let missing = "the following required arguments were not provided:";
        for (line, sentence) in [
            ("", format!("{missing} --action <ACTION>, --handle <HANDLE>")),
            ("--action up", format!("{missing} --handle <HANDLE>")),
            (
                "--action sideways --handle h",
                "invalid value 'sideways' for '--action <ACTION>' [possible values: up, down, net-in, net-out, bulk-net-out]"
                    .to_owned(),
            ),
            ("--frob", "unexpected argument '--frob' found".to_owned()),
        ] {
            assert_eq!(refused(line), sentence);
        }
    }

    #[test]
    fn the_directories_come_from_the_environment_too() {
        let command = Arguments::command();
        let from = |name: &str| {
            let mut arguments = command.get_arguments();
            let found = arguments.find(|argument| argument.get_id() == name).expect("a flag");
            found.get_env().map(|variable| variable.to_owned())
        };
        assert_eq!((from("root"), from("run")), (Some("LOAM_ROOT".into()), Some("LOAM_RUN".into())));
    }
}
