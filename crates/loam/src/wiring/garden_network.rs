//! What the external networker's door stands on: the network seam with directories of its own.

use loam_garden_network::{Host, NetworkOptions};
use loam_model::{ErrorKind, Network as _, NetworkRules, NetworkSource, NetworkSpec, Result, SubnetSpec};
use loam_network::{CniNetwork, NetworkConfig};

/// Whose containers these are: the engine knows nothing of them.
const OWNER: &str = "garden-network";

/// This machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GardenNetworkHost;

impl Host for GardenNetworkHost {
    fn check(&self) -> Result<()> {
        super::check_kernel()
    }

    /// The network is one of pairs: whatever a container sends is routed by the host, so that rules see it.
    fn network(&self, options: &NetworkOptions) -> Result<Box<dyn NetworkRules>> {
        super::require_root()?;
        let config = NetworkConfig {
            owner: Some(OWNER),
            port_pool: Some(options.port_pool()),
            plugin_program: Some(super::helper(&super::own_program()?, super::PLUGINS)),
            ..NetworkConfig::below(&options.root, &options.run)
        };
        let network = CniNetwork::new(config);
        if !network.exists(&options.network)? {
            let subnet = |subnet| SubnetSpec { subnet, gateway: None, range: None };
            let spec = NetworkSpec {
                driver: Some("ptp".into()),
                subnets: options.pool.iter().copied().map(subnet).collect(),
                ipv6: Some(options.pool.iter().any(|net| net.addr().is_ipv6())),
                mtu: options.mtu,
                ..NetworkSpec::default()
            };
            match network.create_network(&NetworkSource::Spec(options.network.clone(), Box::new(spec))) {
                // Another container's `up` was faster.
                Err(failure)
                    if failure.kind() == ErrorKind::AlreadyExists && network.exists(&options.network)? => {}
                created => drop(created?),
            }
        }
        Ok(Box::new(network))
    }
}
