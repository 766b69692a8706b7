//! What the door needs of the machine, and of whoever wires it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use loam_model::{ImageStore, ImageUpkeep, Result, RootfsPlan};

/// The seams of one store.
#[derive(Clone)]
pub struct OpenStore {
    /// Its images and snapshots.
    pub images: Arc<dyn ImageStore>,
    /// The same store, for who looks after it.
    pub upkeep: Arc<dyn ImageUpkeep>,
}

impl std::fmt::Debug for OpenStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OpenStore").finish_non_exhaustive()
    }
}

/// The machine: stores by their directories, and mounts in the namespace that this process is in.
pub trait Host {
    /// Whether the machine can do any of it: its kernel may be too old.
    fn check(&self) -> Result<()>;

    /// Opens the store of a directory, which is there.
    fn open(&self, store: &Path) -> Result<OpenStore>;

    /// Mounts a root file system at a directory.
    fn mount(&self, plan: &RootfsPlan, target: &Path) -> Result<()>;

    /// Mounts below a directory what an overlay of the plan needs, and gives a plan whose paths can be put into the
    /// options of a mount.
    fn expose(&self, plan: &RootfsPlan, directory: &Path) -> Result<RootfsPlan>;

    /// Undoes [`mount`](Self::mount) and [`expose`](Self::expose). Success when there is nothing.
    fn unmount(&self, target: &Path) -> Result<()>;

    /// The directories in which [`expose`](Self::expose) mounts.
    fn mount_points(&self) -> &[&str];

    /// Whether something is mounted at a path.
    fn is_mounted(&self, path: &Path) -> bool;

    /// Bytes in use on the file system that a root file system is written to.
    fn bytes_used(&self, root: &Path) -> Option<u64>;

    /// Whether the file system of a directory keeps limits by itself.
    fn has_quotas(&self, directory: &Path) -> bool;

    /// Mounts the file of so many bytes that a store lies on, which is made when there is none.
    fn mount_backing(&self, store: &Path, bytes: u64) -> Result<()>;

    /// Mounts that file when there is one and it is not mounted, and says whether there is one.
    fn remount_backing(&self, store: &Path) -> Result<bool>;

    /// Has that file read and written past the page cache, or not.
    fn set_direct_io(&self, store: &Path, direct: bool) -> Result<()>;

    /// A command that runs this door again, without its words.
    fn again(&self) -> Result<Command>;
}
