//! Where the adapter keeps things.

use std::path::{Path, PathBuf};

use loam_cni::Host;

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
    /// What describes the kernel's present state; on a file system that is empty after a restart of the machine.
    pub run_dir: PathBuf,
}

impl NetworkConfig {
    /// The usual directories below Loam's state and run directory. Nothing of another engine is touched.
    pub fn below(root: &Path, run: &Path) -> Self {
        Self {
            conf_dir: root.join("networks"),
            plugin_dirs: ["/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni"].map(PathBuf::from).to_vec(),
            cache_dir: root.join("network"),
            data_dir: root.join("network/addresses"),
            run_dir: run.join("cni"),
        }
    }

    /// What the built-in plugins need to know of us.
    pub(crate) fn host(&self) -> Host {
        Host {
            state_directory: self.run_dir.clone(),
            address_directory: self.data_dir.clone(),
            with_loopback: true,
            leave_dying_links: true,
            ..Host::default()
        }
    }
}
