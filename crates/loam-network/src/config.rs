//! Where the adapter keeps things.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loam_cni::delegate::TIME_LIMIT;
use loam_cni::{Host, LeaseKeeping};

/// How long a lock of a network is waited for: longer than any plugin may take.
const PATIENCE: Duration = Duration::from_secs(150);

/// The adapter's directories. Each is made when it is first needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Configuration lists.
    pub conf_dir: PathBuf,
    /// Where programs of other plugins are found, in order.
    pub plugin_dirs: Vec<PathBuf>,
    /// Attachments and cached results; survives a restart of the machine.
    pub cache_dir: PathBuf,
    /// Addresses; survives a restart of the machine.
    pub data_dir: PathBuf,
    /// Who attaches, where several do so in these directories. The containers of others are nobody's to list or to undo,
    /// and their attachments are valid all the same.
    pub owner: Option<&'static str>,
    /// What describes the kernel's present state; on a file system that is empty after a restart of the machine.
    pub run_dir: PathBuf,
    /// How long one call of a plugin's program may take.
    pub time_limit: Duration,
    /// The program `loam-cni`, which keeps the leases of the `dhcp` plugin; without it somebody must have started one.
    pub plugin_program: Option<PathBuf>,
    /// The host ports for requests that leave them open; any that is free when absent.
    pub port_pool: Option<RangeInclusive<u16>>,
    /// How long a network that others are working on is waited for.
    pub patience: Duration,
}

impl NetworkConfig {
    /// The usual directories below Loam's state and run directory. Nothing of another engine is touched.
    pub fn below(root: &Path, run: &Path) -> Self {
        Self {
            conf_dir: root.join("networks"),
            plugin_dirs: ["/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni"].map(PathBuf::from).to_vec(),
            cache_dir: root.join("network"),
            data_dir: root.join("network/addresses"),
            owner: None,
            run_dir: run.join("cni"),
            time_limit: TIME_LIMIT,
            plugin_program: None,
            port_pool: None,
            patience: PATIENCE,
        }
    }

    /// What the built-in plugins need to know of us.
    pub(crate) fn host(&self) -> Host {
        Host {
            state_directory: self.run_dir.clone(),
            address_directory: self.data_dir.clone(),
            with_loopback: true,
            leases: LeaseKeeping {
                socket: self.run_dir.join("dhcp.sock"),
                program: self.plugin_program.clone(),
                ..LeaseKeeping::default()
            },
            ..Host::default()
        }
    }
}
