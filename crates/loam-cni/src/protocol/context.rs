//! One call of one plugin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attachment::Owner;
use super::config::PluginConfig;
use super::error::{CniError, code};
use crate::namespace::{Namespace, NamespaceError};
use crate::nftables::SocketPool;
use crate::removals::Removals;

/// What the caller is to the plugins: where state is kept, and what they may do for it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where the state of attachments and rules is kept; on a file system that is empty after a restart of the machine.
    pub state_directory: PathBuf,
    /// Where `host-local` keeps addresses when the configuration has no `dataDir`.
    pub address_directory: PathBuf,
    /// Whether the bridge plugin brings the namespace's loopback up while it is there.
    pub with_loopback: bool,
    /// Whether the namespace may be the one that the caller is in (`CNI_NETNS_OVERRIDE`).
    pub own_namespace_allowed: bool,
    /// Sockets that are kept open between calls, all of them from one network namespace.
    pub sockets: SocketPool,
    /// Links that are to be removed, of the same network namespace.
    pub removals: Removals,
    /// Who keeps the leases of `dhcp`.
    pub leases: LeaseKeeping,
}

/// Who keeps the leases of [`dhcp`](crate::plugins::dhcp), and how long is waited for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKeeping {
    /// Where the keeper listens when the configuration has no `daemonSocketPath`.
    pub socket: PathBuf,
    /// The program `loam-cni`, which is started as keeper when nobody listens; without it somebody must.
    pub program: Option<PathBuf>,
    /// How long a DHCP server is waited for: less than callers wait for a plugin.
    pub patience: Duration,
}

impl Default for LeaseKeeping {
    fn default() -> Self {
        Self { socket: "/run/cni/dhcp.sock".into(), program: None, patience: Duration::from_secs(100) }
    }
}

impl Default for Host {
    /// As for a plugin that a foreign runtime calls.
    fn default() -> Self {
        Self {
            state_directory: "/run/loam/cni".into(),
            address_directory: "/var/lib/cni/networks".into(),
            with_loopback: false,
            own_namespace_allowed: false,
            sockets: SocketPool::default(),
            removals: Removals::default(),
            leases: LeaseKeeping::default(),
        }
    }
}

/// One call of one plugin.
#[derive(Debug)]
pub struct Context<'a> {
    /// The container's id; empty for GC and STATUS.
    pub container_id: String,
    /// The path of the network namespace.
    pub namespace: Option<PathBuf>,
    /// The interface's name in the container; empty for GC and STATUS.
    pub interface: String,
    /// `CNI_ARGS`.
    pub arguments: Vec<(String, String)>,
    /// Where other plugins are found.
    pub plugin_directories: Vec<PathBuf>,
    /// The configuration.
    pub config: PluginConfig,
    /// The caller.
    pub host: &'a Host,
}

impl Context<'_> {
    /// Whose call it is.
    pub fn owner(&self) -> Owner<'_> {
        Owner { container: &self.container_id, interface: &self.interface }
    }

    /// One of `CNI_ARGS`.
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.arguments.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The path of the namespace, which ADD and CHECK have.
    pub fn namespace_path(&self) -> Result<&Path, CniError> {
        self.namespace
            .as_deref()
            .ok_or_else(|| CniError::new(code::INVALID_ENVIRONMENT, "the network namespace is missing"))
    }

    fn open_path(&self, path: &Path) -> Result<Namespace, NamespaceError> {
        if self.host.own_namespace_allowed { Namespace::open_any(path) } else { Namespace::open(path) }
    }

    /// Opens the namespace, which must exist.
    pub fn open_namespace(&self) -> Result<Namespace, CniError> {
        let path = self.namespace_path()?;
        self.open_path(path).map_err(|cause| {
            let message = format!("network namespace `{}` can't be used", path.display());
            CniError::new(code::INVALID_NAMESPACE, message).because(&cause)
        })
    }

    /// Opens the namespace for DEL: `None` when there is none any more.
    pub fn open_namespace_if_alive(&self) -> Result<Option<Namespace>, CniError> {
        let Some(path) = &self.namespace else { return Ok(None) };
        match self.open_path(path) {
            Ok(namespace) => Ok(Some(namespace)),
            Err(cause) if cause.is_gone() => Ok(None),
            Err(cause) => {
                let message = format!("network namespace `{}` can't be used", path.display());
                Err(CniError::new(code::INVALID_NAMESPACE, message).because(&cause))
            }
        }
    }
}
