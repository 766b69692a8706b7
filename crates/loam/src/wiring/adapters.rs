//! The adapters by name: the only place that knows them all.

use std::path::Path;
use std::sync::Arc;

use loam_engine::Seams;
use loam_image::LayerStore;
use loam_network::{CniNetwork, NetworkConfig};
use loam_oci::OciBundler;
use loam_shim::ShimSupervisor;

use super::{PLUGINS, SHIM, helper};
use crate::config::Settings;

/// Joins the adapters, for this program. None of them touches anything before it is used.
pub(super) fn seams(
    settings: &Settings,
    images: Arc<LayerStore>,
    root: &Path,
    run: &Path,
    program: &Path,
) -> Seams {
    let plugins = helper(program, PLUGINS);
    let network = NetworkConfig { plugin_program: Some(plugins), ..NetworkConfig::below(root, run) };
    let bundler = OciBundler::new(settings.cgroup_driver, settings.cgroup_slice.clone());
    Seams {
        images,
        network: Arc::new(CniNetwork::new(network)),
        bundler: Arc::new(bundler),
        supervisor: Arc::new(ShimSupervisor::new(helper(program, SHIM), run.to_owned())),
    }
}
