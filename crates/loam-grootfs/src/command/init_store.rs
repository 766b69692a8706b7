//! `init-store`.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::Path;

use loam_model::IdMapping;

use super::{Outcome, Session};
use crate::arguments::InitStore;
use crate::error::GrootfsError;
use crate::layout::Layout;
use crate::namespace::Namespace;

/// The lock of all who make stores ready, where GrootFS has it.
const LOCK: &str = "/var/run/init-store.lock";

impl Session<'_> {
    pub(super) fn init_store(mut self, flags: &InitStore) -> Outcome {
        if let Some(bytes) = flags.store_size_bytes {
            self.config.init.store_size_bytes = bytes;
        }
        if self.config.init.store_size_bytes < 0 {
            return Err(GrootfsError::said("invalid argument: store size cannot be negative"));
        }
        let layout = self.layout();
        if !rustix::process::geteuid().is_root() {
            let what = format!("store {} can only be initialized by Root user", layout.store.display());
            return Err(GrootfsError::said(what));
        }
        let namespace = Namespace::of_flags(&flags.uid_mapping, &flags.gid_mapping)?;
        let lock = File::create(LOCK).and_then(|lock| lock.lock().map(|()| lock));
        let _held = lock.map_err(|error| GrootfsError::said(format!("locking `{LOCK}`: {error}")))?;
        self.provide(&layout, flags.with_direct_io.unwrap_or(self.config.init.with_direct_io))?;
        furnish(&layout, &namespace)?;
        // Makes the database.
        self.open()?.images.sweep();
        Ok(String::new())
    }

    /// Makes the store's directory, and mounts its file where it has one or is to have one.
    fn provide(&self, layout: &Layout, direct_io: bool) -> Result<(), GrootfsError> {
        let store = &layout.store;
        make(store, 0o700)?;
        let mut has_file = self.host.remount_backing(store)?;
        let bytes = u64::try_from(self.config.init.store_size_bytes).unwrap_or(0);
        if bytes > 0 && !has_file && !layout.is_initialized() && !self.host.has_quotas(store) {
            self.host.mount_backing(store, bytes)?;
            has_file = true;
        }
        if has_file {
            self.host.set_direct_io(store, direct_io)?;
        }
        Ok(())
    }
}

/// Makes the directories of this door. The mapped root may pass through the store to its images, and no further.
fn furnish(layout: &Layout, namespace: &Namespace) -> Result<(), GrootfsError> {
    let mapping = namespace.mapping()?;
    let mode = if mapping.is_some() { 0o711 } else { 0o700 };
    make(&layout.meta(), 0o755)?;
    namespace.keep(layout)?;
    make(&layout.images(), 0o755)?;
    set(&layout.store, mode)?;
    set(&layout.images(), 0o755)?;
    own(&layout.images(), mapping.as_ref())
}

/// Makes a directory, with those above it, unless it is there.
pub(super) fn make(path: &Path, mode: u32) -> Result<(), GrootfsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| GrootfsError::said(format!("making directory `{}`: {error}", path.display())))
}

/// Sets the mode of a directory.
pub(super) fn set(path: &Path, mode: u32) -> Result<(), GrootfsError> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| GrootfsError::said(format!("changing permissions of `{}`: {error}", path.display())))
}

/// Gives a directory to the root of a mapping.
pub(super) fn own(path: &Path, mapping: Option<&IdMapping>) -> Result<(), GrootfsError> {
    let Some(root) = mapping.and_then(|mapping| mapping.to_host(0)) else { return Ok(()) };
    chown(path, Some(root), Some(root))
        .map_err(|error| GrootfsError::said(format!("changing owner of `{}`: {error}", path.display())))
}
