//! What containers may reach: as many rules as Cloud Foundry's security groups come to, set at once (`BulkNetOut`).
//!
//! There is nothing like it in CNI, so that only our own network seam is measured, from its call to the kernel's answer:
//! for the first container that has the rules, and for another one that has the same.

use std::path::Path;

use loam_model::{
    AddressRange, AttachExtras, AttachRequest, ContainerId, DetachRequest, EgressAction, EgressList,
    EgressPolicy, EgressProtocol, EgressRule, Network, NetworkChoice, NetworkName, NetworkRules, PortRange,
};
use loam_network::{CniNetwork, NetworkConfig};
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::measure::{Cost, measured};
use crate::worker::Ground;

/// How many rules a container has.
pub(crate) const RULES: u16 = 500;
/// Where the seam keeps its files, in memory.
const ROOT: &str = "/var/lib/loam-bench-rules";
/// Where it keeps what describes the kernel's state.
const RUN: &str = "/run/loam-bench-rules";

/// What the two calls took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Bulk {
    /// For the first container with these rules.
    pub(crate) first: Cost,
    /// For another one with the same.
    pub(crate) again: Cost,
}

/// Sets the rules of two containers and takes both away.
pub(crate) fn set(ground: &mut Ground) -> Result<Bulk, String> {
    let network = CniNetwork::new(NetworkConfig::below(Path::new(ROOT), Path::new(RUN)));
    let containers = [(1, ground.container()?), (2, ground.container()?)];
    for (number, container) in &containers {
        attach(&network, *number, container)?;
    }
    let policy = policy();
    let restrict = |number: u8| {
        let (set, cost) =
            measured(|| network.restrict(&id(number), &policy)).map_err(|error| error.to_string())?;
        set.map(|()| cost).map_err(|failure| failure.chain())
    };
    let bulk = restrict(1).and_then(|first| Ok(Bulk { first, again: restrict(2)? }));
    for (number, container) in containers {
        let namespace = container.endpoint.namespace.clone();
        let detached = network.detach(&DetachRequest { container: &id(number), namespace });
        detached.map_err(|failure| failure.chain())?;
    }
    bulk
}

fn id(number: u8) -> ContainerId {
    ContainerId::from_random([number; 32])
}

fn attach(network: &CniNetwork, number: u8, container: &Container) -> Result<(), String> {
    let attached = network.attach(&AttachRequest {
        container: &id(number),
        name: "bench",
        namespace: container.endpoint.namespace.clone().unwrap_or_default(),
        networks: &[NetworkChoice::from(NetworkName::default_network())],
        ports: &[],
        extras: AttachExtras::default(),
    });
    attached.map(drop).map_err(|failure| failure.chain())
}

/// Rules of every kind that has ports or not, each for a network of its own; all else is refused.
fn policy() -> EgressPolicy {
    let rule = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let network = std::net::Ipv4Addr::new(10, 128 + high, low, 0);
        let ports = || vec![PortRange { first: 1000 + number, last: 1100 + number }];
        let protocol = match number % 4 {
            0 => EgressProtocol::All,
            1 => EgressProtocol::Udp(ports()),
            _ => EgressProtocol::Tcp(ports()),
        };
        let last = std::net::Ipv4Addr::new(10, 128 + high, low, 255);
        let networks = vec![AddressRange { first: network.into(), last: last.into() }];
        EgressRule { protocol, networks, ..EgressRule::default() }
    };
    let refused = EgressList { otherwise: EgressAction::Reject, ..EgressList::default() };
    let to_others = EgressList { rules: (0..RULES).map(rule).collect(), ..refused.clone() };
    EgressPolicy { to_others, to_host: refused, guarded: true }
}
