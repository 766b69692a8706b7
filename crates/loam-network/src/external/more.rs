//! Ports and rules for a container that a networker has attached.
//!
//! The contract can add, and take nothing back. So rules can be set as long as those that were set before are among them,
//! at the end; the others are handed over as one `bulk-net-out`. What was handed over is written into the attachment's
//! file afterwards: a call that was killed is done again, and a rule that is there twice allows no more than once.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use loam_cni::CniResult;
use loam_garden_wire::{BulkNetOutInputs, NetInInputs, host_port, only_allowed};
use loam_model::{ContainerId, EgressPolicy, ErrorKind, Failure, PortMapping, Result};
use serde_json::{Value, json};

use super::Networker;
use super::answer::form;
use super::error::NetworkerError;
use super::up::caller;
use crate::attachments::{AttachmentFile, Intent};
use crate::cache::Key;
use crate::conflist::NetworkList;
use crate::failure::of_files;
use crate::garden::{NET_OUT_RULES, net_out_rules};
use crate::network::{CniNetwork, unattached};
use crate::plan::{PORT_MAPPINGS, port_value};

/// A container's attachment by a networker, locked.
pub(crate) struct Held {
    file: AttachmentFile,
    intents: Vec<Intent>,
    networker: Networker,
    /// The container's address.
    address: IpAddr,
}

fn unsupported(message: String) -> Failure {
    Failure::new(ErrorKind::Unsupported, message)
}

impl CniNetwork {
    /// The attachment of a container, when a networker has made it; `None` when plugins have.
    pub(crate) fn by_networker(&self, container: &ContainerId) -> Result<Option<Held>> {
        let Some(mut file) = self.open(container, false)? else { return Ok(None) };
        let read = file.read().map_err(|error| of_files("reading the attachment failed", error))?;
        let Some(intents) = read else { return Ok(None) };
        let mut networker = None;
        for intent in &intents {
            let list = NetworkList::parse(intent.config.clone())
                .map_err(|error| of_files("the attachment's own configuration can't be read", error))?;
            networker = networker.or(list.networker);
        }
        let Some(networker) = networker else { return Ok(None) };
        let [intent] = intents.as_slice() else {
            let message = format!(
                "container `{}` is on more than the network of an external networker, so neither ports nor rules can be added",
                container.short()
            );
            return Err(unsupported(message));
        };
        let key =
            Key { network: &intent.network, container: container.as_str(), interface: &intent.interface };
        let result: CniResult = self.cache.read(key).ok_or_else(|| unattached(container))?.result;
        // IPv4's first, as everywhere with Garden.
        let mut addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        let address = *addresses.first().ok_or_else(|| unattached(container))?;
        Ok(Some(Held { file, intents, networker, address }))
    }

    /// Allows what a policy allows beyond what was allowed before.
    pub(crate) fn networker_restrict(
        &self,
        held: Held,
        container: &ContainerId,
        policy: &EgressPolicy,
    ) -> Result<()> {
        let Held { mut file, mut intents, networker, address } = held;
        let intent = &mut intents[0];
        let rules = only_allowed(policy).map_err(|what| {
            let message =
                format!("network `{}` has an external networker, which decides on {what}", intent.network);
            unsupported(message)
        })?;
        let wanted = net_out_rules(rules);
        let before =
            intent.capability_args.get(NET_OUT_RULES).and_then(Value::as_array).cloned().unwrap_or_default();
        let Some(new) = wanted.strip_suffix(before.as_slice()) else {
            let message =
                format!("network `{}` has an external networker, which takes no rule back", intent.network);
            return Err(unsupported(message));
        };
        if new.is_empty() {
            return Ok(());
        }
        let inputs = json!(BulkNetOutInputs { container_ip: Some(address), netout_rules: new.to_vec() });
        self.calls
            .call(&networker, caller(intent, container.as_str()), "bulk-net-out", &inputs)
            .map_err(|error| error.on("adding rules on", &intent.network, &networker))?;
        intent.capability_args.insert(NET_OUT_RULES.into(), wanted.into());
        file.replace(&intents).map_err(|error| of_files("writing the attachment failed", error))
    }

    /// Publishes one port more.
    pub(crate) fn networker_publish(
        &self,
        held: Held,
        container: &ContainerId,
        ports: &[PortMapping],
    ) -> Result<Vec<PortMapping>> {
        let Held { mut file, mut intents, networker, address } = held;
        let intent = &mut intents[0];
        let port = match ports {
            [] => return Ok(Vec::new()),
            [port] => *port,
            _ => {
                let message = format!(
                    "network `{}` has an external networker, which publishes one port at a time",
                    intent.network
                );
                return Err(unsupported(message));
            }
        };
        // Here the contract has a word for the host's address.
        let without_address = PortMapping { host_address: None, ..port };
        Networker::check_ports(&intent.network, &[without_address])?;
        let host = port.host_address.or(networker.external_address).unwrap_or_else(own_address);
        let inputs = json!(NetInInputs {
            host_ip: Some(host),
            host_port: port.host_port,
            container_ip: Some(address),
            container_port: port.container_port,
        });
        let publish = || {
            let answer =
                self.calls.call(&networker, caller(intent, container.as_str()), "net-in", &inputs)?;
            match host_port(answer.as_ref()).map_err(form("net-in"))? {
                given if given == port.host_port || port.host_port == 0 => Ok(given),
                given => {
                    let what = format!("host port {given} was not asked for, but {}", port.host_port);
                    Err(NetworkerError::Form { action: "net-in", what })
                }
            }
        };
        let given =
            publish().map_err(|error| error.on("publishing a port on", &intent.network, &networker))?;
        let port = PortMapping { host_port: given, ..port };
        let published =
            intent.capability_args.entry(PORT_MAPPINGS).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(published) = published {
            published.push(port_value(&port));
        }
        file.replace(&intents).map_err(|error| of_files("writing the attachment failed", error))?;
        Ok(vec![port])
    }
}

/// The address that this host sends from to the outside; any when it sends to nobody. Nothing is sent to find it.
fn own_address() -> IpAddr {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let look = || {
        let socket = UdpSocket::bind((any, 0))?;
        // An address for documentation (RFC 5737), which only the default route leads to.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    let found: std::io::Result<std::net::SocketAddr> = look();
    found.map_or(any, |address| address.ip())
}
