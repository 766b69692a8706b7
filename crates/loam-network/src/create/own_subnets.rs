//! New networks that have a subnet for each container.

use ipnet::IpNet;
use loam_model::{ErrorKind, Failure, NetworkSpec, Result};

/// Refuses what such a network can't have. Its subnet is the pool that those of the containers are from.
pub(super) fn check(spec: &NetworkSpec) -> Result<()> {
    let what = match spec.subnets.as_slice() {
        _ if !spec.subnet_per_container => return Ok(()),
        _ if super::compose::driver(spec) != "bridge" || spec.options.contains_key("bridge") => {
            "is of driver `bridge`, with bridges that are named by their subnets"
        }
        _ if spec.ipv6 == Some(true) => "has IPv4 alone",
        _ if spec.isolate => "keeps containers from each other by itself",
        [] => return Ok(()),
        [one] if one.gateway.is_some() || one.range.is_some() => {
            "has its gateways at the first address of each subnet"
        }
        [one] if matches!(one.subnet, IpNet::V4(_)) => return Ok(()),
        _ => "takes them from one subnet, of IPv4",
    };
    Err(Failure::new(ErrorKind::Invalid, format!("a network with a subnet for each container {what}")))
}
