//! Removing a network, with its bridge, its addresses and its part of the firewall.

use std::fs;
use std::io;

use ipnet::IpNet;
use loam_cni::firewall::Firewall;
use loam_cni::netlink::{Address, Batch, Link, RouteSocket};
use loam_cni::plugins::bridge::remove_gateway_links;
use loam_model::{ErrorKind, Failure, KnownAttachment, NetworkName, Result};

use crate::conflist::{self, NetworkList, kind};
use crate::create::lock;
use crate::failure::of_files;
use crate::network::{CniNetwork, unknown};

impl CniNetwork {
    /// [`loam_model::Network::remove_network`]. The configuration goes last, so that a removal that was killed can be
    /// done again.
    pub(crate) fn remove(&self, name: &NetworkName) -> Result<()> {
        if name.is_default() {
            let message = format!("network `{name}` is the default one, which stays");
            return Err(Failure::new(ErrorKind::Conflict, message));
        }
        let directory = &self.config.conf_dir;
        if self.find(name)?.is_none() {
            return Err(unknown(name));
        }
        let _directory = lock(directory)?;
        let found = self.find(name)?.ok_or_else(|| unknown(name))?;
        let _alone = self.locks.alone(name.as_str())?;
        let attached = self.known_attachments(name.as_str())?;
        if !attached.is_empty() {
            return Err(in_use(name, &attached));
        }
        let others =
            conflist::all(directory).map_err(|error| of_files("reading the networks failed", error))?;
        let others: Vec<&NetworkList> = others.iter().filter(|list| list.name != found.list.name).collect();
        let bridge = remove_links(&found.list, &others)?;
        let mut subnets = found.list.subnets();
        subnets.retain(|subnet| !others.iter().any(|other| other.subnets().contains(subnet)));
        let failed = |error| of_files("taking the network out of the firewall failed", error);
        Firewall::open(&self.host)
            .and_then(|mut firewall| firewall.forget_network(name.as_str(), bridge, &subnets))
            .map_err(failed)?;
        let addresses = self.config.data_dir.join(name.as_str());
        present(fs::remove_dir_all(&addresses))
            .map_err(|error| of_files(&format!("removing `{}` failed", addresses.display()), error))?;
        fs::remove_file(&found.file)
            .map_err(|error| of_files(&format!("removing `{}` failed", found.file.display()), error))
    }
}

fn in_use(name: &NetworkName, attached: &[KnownAttachment]) -> Failure {
    let mut ids: Vec<String> =
        attached.iter().map(|known| format!("`{}`", known.container.short())).collect();
    ids.dedup();
    let message = format!("network `{name}` is in use by container {}", ids.join(", "));
    Failure::new(ErrorKind::Conflict, message).hint("stop it, or `loam network disconnect` it")
}

/// The bridge of a network.
fn bridge(list: &NetworkList) -> Option<&str> {
    let first = list.plugins.first().filter(|plugin| kind(plugin) == "bridge");
    first.and_then(|_| list.host_interface())
}

/// The number of a network among those that share its bridge.
fn vlan(list: &NetworkList) -> Option<u16> {
    let number = list.plugins.first()?.get("vlan")?.as_u64()?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}

/// Removes the links that are of the network alone; gives its bridge, if that is one of them.
fn remove_links<'a>(list: &'a NetworkList, others: &[&NetworkList]) -> Result<Option<&'a str>> {
    let Some(bridge_name) = bridge(list) else { return Ok(None) };
    let mut sharing = others.iter().filter(|other| bridge(other) == Some(bridge_name)).peekable();
    let alone = sharing.peek().is_none();
    let number = vlan(list).filter(|_| !sharing.any(|other| vlan(other) == vlan(list)));
    if alone || number.is_some() {
        let number = number.filter(|_| !alone);
        remove_gateway_links(bridge_name, number).map_err(|error| {
            let message = format!("removing the gateways of bridge `{bridge_name}` failed");
            Failure::new(ErrorKind::Internal, message).caused_by(error)
        })?;
    }
    if !alone {
        return Ok(None);
    }
    Ok(remove_bridge(bridge_name, &list.subnets())?.then_some(bridge_name))
}

/// Removes a bridge that has no ports, and says whether there is none now. One that somebody else put ports on stays, and one
/// that has addresses beyond these subnets: another state directory was there first.
pub(crate) fn remove_bridge(name: &str, subnets: &[IpNet]) -> Result<bool> {
    let failed = || Failure::new(ErrorKind::Internal, format!("removing bridge `{name}` failed"));
    let mut socket = RouteSocket::open().map_err(|error| failed().caused_by(error))?;
    let links = socket.links().map_err(|error| failed().caused_by(error))?;
    let Some(bridge) = links.iter().find(|link| link.name == name && link.kind == "bridge") else {
        return Ok(true);
    };
    // A port that goes with its namespace in a moment is shut and waits for nothing; one that is up is somebody's.
    let is_used = |link: &Link| link.up || !link.name.starts_with("veth");
    if links.iter().any(|link| link.controller == Some(bridge.index) && is_used(link)) {
        return Ok(false);
    }
    let addresses = socket.addresses(Some(bridge.index)).map_err(|error| failed().caused_by(error))?;
    let is_foreign = |address: &Address| {
        address.global && !subnets.iter().any(|subnet| subnet.contains(&address.net.addr()))
    };
    if !subnets.is_empty() && addresses.iter().any(is_foreign) {
        return Ok(false);
    }
    let mut batch = Batch::new();
    batch.delete_link(name);
    let verdicts = socket.run(batch).map_err(|error| failed().caused_by(error))?;
    match verdicts.into_iter().next() {
        Some(Err(refusal)) if refusal.errno != rustix::io::Errno::NODEV => Err(failed().caused_by(refusal)),
        _ => Ok(true),
    }
}

/// Makes nothing of a thing that is not there.
fn present(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
