//! What the engine is told at its start.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use loam_model::{Bundler, ImageStore, Network, Supervisor};

/// Host ids of each container's user namespace.
pub(crate) const IDS_PER_CONTAINER: u32 = 65_536;

/// Where the engine keeps things, and what it hands to shims.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The state directory; must exist.
    pub root: PathBuf,
    /// The run directory, on a file system that a restart of the machine empties.
    pub run: PathBuf,
    /// The program, with arguments, that a shim runs when its container has ended and nobody waits; the engine
    /// appends the container's id. It shall call [`crate::Engine::settle`].
    pub on_exit: Vec<String>,
    /// The bytes of the program that is process 1 of containers that ask for one.
    pub init_program: &'static [u8],
    /// The first host id, and the number of host ids, for containers' user namespaces.
    pub id_pool: (u32, u32),
    /// The host's resolver configurations, the preferred first.
    pub resolver_files: Vec<PathBuf>,
    /// What is said to the person who waits.
    pub notes: Notes,
}

/// Takes sentences for a person: neither failures nor data.
#[derive(Clone)]
pub struct Notes(Arc<dyn Fn(&str) + Send + Sync>);

impl Notes {
    /// Gives each sentence to `say`.
    pub fn to(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    pub(crate) fn say(&self, sentence: &str) {
        (self.0)(sentence);
    }
}

impl Default for Notes {
    /// Nobody listens.
    fn default() -> Self {
        Self::to(|_| {})
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Notes")
    }
}

impl EngineConfig {
    /// The usual configuration for these two directories, without `on_exit`, an init program and
    /// somebody who listens to notes.
    pub fn new(root: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            run: run.into(),
            on_exit: Vec::new(),
            init_program: &[],
            id_pool: (0x4000_0000, 0x3000_0000),
            resolver_files: vec!["/etc/resolv.conf".into(), "/run/systemd/resolve/resolv.conf".into()],
            notes: Notes::default(),
        }
    }

    /// How many user namespaces the pool is enough for.
    pub(crate) fn slots(&self) -> u32 {
        let (first, size) = self.id_pool;
        size.min(u32::MAX - first) / IDS_PER_CONTAINER
    }
}

/// The adapters that the engine joins.
#[derive(Clone)]
pub struct Seams {
    /// Images and snapshots.
    pub images: Arc<dyn ImageStore>,
    /// Networks.
    pub network: Arc<dyn Network>,
    /// From specs to OCI bundles.
    pub bundler: Arc<dyn Bundler>,
    /// Shims.
    pub supervisor: Arc<dyn Supervisor>,
}

impl fmt::Debug for Seams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seams").finish_non_exhaustive()
    }
}
