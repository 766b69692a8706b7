//! The adapters by name: the only place that knows them all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use loam_engine::Seams;
use loam_image::LayerStore;
use loam_network::{CniNetwork, NetworkConfig};
use loam_oci::OciBundler;
use loam_shim::ShimSupervisor;

use crate::config::Settings;

/// Joins the adapters. None of them touches anything before it is used.
pub(super) fn seams(
    settings: &Settings,
    images: Arc<LayerStore>,
    root: &Path,
    run: &Path,
    shim: PathBuf,
) -> Seams {
    let bundler = OciBundler::new(settings.cgroup_driver, settings.cgroup_slice.clone());
    Seams {
        images,
        network: Arc::new(CniNetwork::new(NetworkConfig::below(root, run))),
        bundler: Arc::new(bundler),
        supervisor: Arc::new(ShimSupervisor::new(shim, run.to_owned())),
    }
}
