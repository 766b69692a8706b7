//! What the GrootFS door stands on: a store of its own in any directory, mounts on the host.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use loam_grootfs::{Host, OpenStore};
use loam_image::{BackingFile, LayerStore, StoreConfig};
use loam_model::{QuotaMechanism, Result, RootfsPlan};
use loam_rootfs::IdMaps;
use loam_state::Database;

/// This machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrootfsHost;

impl Host for GrootfsHost {
    fn check(&self) -> Result<()> {
        super::check_kernel()
    }

    fn open(&self, store: &Path) -> Result<OpenStore> {
        super::require_root()?;
        let database = Database::open(&store.join("loam.db"), &[loam_image::SCHEMA])?;
        let store = Arc::new(LayerStore::open(StoreConfig::new(store, super::unpacker()?), database));
        Ok(OpenStore { images: store.clone(), upkeep: store })
    }

    fn mount(&self, plan: &RootfsPlan, target: &Path) -> Result<()> {
        let mounted = loam_rootfs::mount_root(plan, None, &mut IdMaps::default(), target);
        if mounted.is_err() {
            // What came before the overlay may have been mounted.
            loam_rootfs::unmount_all(target)?;
        }
        mounted.map(drop)
    }

    fn expose(&self, plan: &RootfsPlan, directory: &Path) -> Result<RootfsPlan> {
        loam_rootfs::expose(plan, &mut IdMaps::default(), directory)
    }

    fn unmount(&self, target: &Path) -> Result<()> {
        loam_rootfs::unmount_all(target)
    }

    fn mount_points(&self) -> &[&str] {
        &loam_rootfs::MOUNT_POINTS
    }

    fn is_mounted(&self, path: &Path) -> bool {
        loam_rootfs::is_mount_point(path)
    }

    fn bytes_used(&self, root: &Path) -> Option<u64> {
        let status = rustix::fs::statvfs(root).ok()?;
        Some(status.f_blocks.saturating_sub(status.f_bfree).saturating_mul(status.f_frsize))
    }

    fn has_quotas(&self, directory: &Path) -> bool {
        loam_image::quota_mechanism(directory).is_ok_and(|found| found != QuotaMechanism::DiskFile)
    }

    fn mount_backing(&self, store: &Path, bytes: u64) -> Result<()> {
        BackingFile::of(store).make(bytes)
    }

    fn remount_backing(&self, store: &Path) -> Result<bool> {
        let backing = BackingFile::of(store);
        let is_made = backing.is_made();
        if is_made && !loam_rootfs::is_mount_point(store) {
            backing.mount()?;
        }
        Ok(is_made)
    }

    fn set_direct_io(&self, store: &Path, direct: bool) -> Result<()> {
        BackingFile::of(store).set_direct_io(direct)
    }

    fn again(&self) -> Result<Command> {
        let mut command = Command::new(super::own_program()?);
        command.arg("grootfs");
        Ok(command)
    }
}
