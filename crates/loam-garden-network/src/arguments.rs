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
    #[arg(long, value_name = "DIR", default_value = "/var/lib/loam")]
    pub root: PathBuf,
    /// The directory of what a restart of the machine empties
    #[arg(long, value_name = "DIR", default_value = "/run/loam")]
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
            Err(error) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                Err(NetworkerError::Usage(line.trim_start_matches("error: ").to_owned()))
            }
        }
    }
}
