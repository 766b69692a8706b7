//! Removing a network, with its bridge, its addresses and its part of the firewall.

use std::fs;
use std::io;

use loam_cni::firewall::Firewall;
use loam_cni::netlink::{Batch, RouteSocket};
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
        let is_bridge =
            |list: &NetworkList| list.plugins.first().is_some_and(|plugin| kind(plugin) == "bridge");
        let bridge = found.list.host_interface().filter(|_| is_bridge(&found.list));
        let bridge = bridge.filter(|bridge| {
            let shares = |list: &&NetworkList| is_bridge(list) && list.host_interface() == Some(*bridge);
            others.iter().filter(shares).count() == 1
        });
        if let Some(bridge) = bridge {
            remove_bridge(bridge)?;
        }
        let failed = |error| of_files("taking the network out of the firewall failed", error);
        Firewall::open(&self.host)
            .and_then(|mut firewall| firewall.forget_network(name.as_str(), bridge))
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

/// Removes a bridge that has no ports. One that somebody else put ports on stays.
fn remove_bridge(name: &str) -> Result<()> {
    let failed = || Failure::new(ErrorKind::Internal, format!("removing bridge `{name}` failed"));
    let mut socket = RouteSocket::open().map_err(|error| failed().caused_by(error))?;
    let links = socket.links().map_err(|error| failed().caused_by(error))?;
    let Some(bridge) = links.iter().find(|link| link.name == name && link.kind == "bridge") else {
        return Ok(());
    };
    // A port that goes with its namespace in a moment is shut and waits for nothing.
    if links.iter().any(|link| link.controller == Some(bridge.index) && !link.name.starts_with("veth")) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.delete_link(name);
    let verdicts = socket.run(batch).map_err(|error| failed().caused_by(error))?;
    match verdicts.into_iter().next() {
        Some(Err(refusal)) if refusal.errno != rustix::io::Errno::NODEV => Err(failed().caused_by(refusal)),
        _ => Ok(()),
    }
}

/// Makes nothing of a thing that is not there.
fn present(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
