//! The actions.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use loam_garden_wire::{
    BulkNetOutInputs, MappedPort, NetIn, NetInInputs, NetOutInputs, NetOutRule, UpInputs, UpOutputs, property,
};
use loam_model::{
    AttachExtras, AttachRequest, Attachment, ContainerMetadata, DetachRequest, NetworkChoice, NetworkRules,
    PortMapping,
};
use rustix::io::Errno;

use crate::Host;
use crate::arguments::{Action, Arguments};
use crate::error::NetworkerError;
use crate::handles::{HandleFile, HandleRecord, Handles, container_id};
use crate::messages::read;
use crate::policy::{allowed, policy};

/// Does what the words say; gives what goes to standard output.
pub(crate) fn run(
    arguments: &Arguments,
    host: &dyn Host,
    input: &mut dyn Read,
) -> Result<Option<String>, NetworkerError> {
    let session = Session { arguments, host, handles: Handles::below(&arguments.network.root) };
    match arguments.action {
        Action::Up => session.up(read("up", input)?).map(|outputs| Some(json(&outputs))),
        Action::Down => session.down().map(|()| None),
        Action::NetIn => session.net_in(&read("net-in", input)?).map(|port| Some(json(&port))),
        Action::NetOut => {
            let inputs: NetOutInputs = read("net-out", input)?;
            session.net_out(vec![inputs.netout_rule]).map(|()| None)
        }
        Action::BulkNetOut => {
            let inputs: BulkNetOutInputs = read("bulk-net-out", input)?;
            session.net_out(inputs.netout_rules).map(|()| None)
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("the values have text keys")
}

fn namespace_of(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

/// Device and inode of a process's network namespace; `None` when there is no such process.
fn identity(namespace: &Path) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::stat(namespace) {
        Ok(found) => Ok(Some((found.st_dev, found.st_ino))),
        // The second is of a process that ends between the look into its directory and the one at its namespace.
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Session<'a> {
    arguments: &'a Arguments,
    host: &'a dyn Host,
    handles: Handles,
}

impl Session<'_> {
    /// The network namespace of the container's first process, which must be there.
    fn first_process(&self, pid: u32) -> Result<Option<(u64, u64)>, NetworkerError> {
        let handle = || self.arguments.handle.clone();
        match identity(&namespace_of(pid)) {
            Ok(None) => Err(NetworkerError::NoProcess { handle: handle(), pid }),
            Ok(namespace) => Ok(namespace),
            Err(source) => Err(NetworkerError::Process { handle: handle(), pid, source }),
        }
    }

    fn network(&self) -> Result<Box<dyn NetworkRules>, NetworkerError> {
        Ok(self.host.network(&self.arguments.network)?)
    }

    fn up(&self, inputs: UpInputs) -> Result<UpOutputs, NetworkerError> {
        let handle = &self.arguments.handle;
        let rules = inputs.netout_rules;
        let servers = &self.arguments.dns_servers;
        let policy = policy(handle, &rules, &self.arguments.policy, servers)?;
        let allowed = allowed(&rules)?;
        let namespace = self.first_process(inputs.pid)?;
        let network = self.network()?;
        let mut file = self.handles.open(handle, true)?.ok_or_else(|| self.unknown())?;
        if file.read()?.is_some() {
            return Err(NetworkerError::Up(handle.clone()));
        }
        let record = HandleRecord { rules, namespace, pid: inputs.pid };
        let container = container_id(handle);
        // For networks that have such plugins; all others are told nothing of it.
        let metadata =
            ContainerMetadata { handle: Some(handle.clone()), properties: inputs.properties, rules: allowed };
        file.write(&record)?;
        let external = self.arguments.ports.external_ip;
        let ports: Vec<PortMapping> =
            inputs.netin.into_iter().map(|port| port.to_mapping(external)).collect();
        let attached = network.attach(&AttachRequest {
            container: &container,
            name: handle,
            namespace: namespace_of(record.pid),
            networks: &[NetworkChoice::from(self.arguments.network.network.clone())],
            ports: &ports,
            extras: AttachExtras { metadata: Some(&metadata), ..AttachExtras::default() },
        });
        let restricted = match &attached {
            Ok(_) => network.restrict(&container, &policy),
            Err(_) => Ok(()),
        };
        match (attached, restricted) {
            (Ok(attachment), Ok(())) => Ok(self.outputs(&attachment)),
            // The seam has undone what it made, or tried to: what it could not undo `down` has to find.
            (Err(failure), _) | (_, Err(failure)) => {
                let undone = self.detach(&*network, &record).and_then(|()| file.remove());
                Err(after(failure.into(), undone))
            }
        }
    }

    fn outputs(&self, attachment: &Attachment) -> UpOutputs {
        let interfaces = attachment.interfaces.first();
        let address = |four: bool| {
            let mut addresses = interfaces.iter().flat_map(|interface| &interface.addresses);
            addresses.find(|net| net.addr().is_ipv4() == four).map(|net| net.addr().to_string())
        };
        let gateway = interfaces.and_then(|interface| interface.gateways.first()).map(IpAddr::to_string);
        let mapped: Vec<MappedPort> = attachment
            .ports
            .iter()
            .map(|port| MappedPort { host_port: port.host_port, container_port: port.container_port })
            .collect();
        let known = [
            (property::CONTAINER_IP, address(true)),
            (property::CONTAINER_IPV6, address(false)),
            (property::HOST_IP, gateway),
            (property::MAPPED_PORTS, Some(json(&mapped))),
            (property::INTERFACE, interfaces.map(|interface| interface.name.clone())),
        ];
        let properties: BTreeMap<_, _> =
            known.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
        let servers = [self.arguments.dns_servers.as_slice(), &attachment.name_servers].concat();
        let domains = [self.arguments.search_domains.as_slice(), &attachment.search_domains].concat();
        UpOutputs {
            properties,
            dns_servers: Some(servers).filter(|servers| !servers.is_empty()),
            search_domains: domains,
        }
    }

    fn down(&self) -> Result<(), NetworkerError> {
        let Some(mut file) = self.handles.open(&self.arguments.handle, false)? else { return Ok(()) };
        let record = file.read()?.unwrap_or_default();
        self.detach(&*self.network()?, &record)?;
        file.remove()
    }

    fn detach(&self, network: &dyn NetworkRules, record: &HandleRecord) -> Result<(), NetworkerError> {
        let namespace = namespace_of(record.pid);
        // One that can't be looked at can't be entered either.
        let found = identity(&namespace).ok().flatten();
        let namespace = Some(namespace).filter(|_| record.namespace.is_some() && found == record.namespace);
        let container = container_id(&self.arguments.handle);
        Ok(network.detach(&DetachRequest { container: &container, namespace })?)
    }

    fn unknown(&self) -> NetworkerError {
        NetworkerError::Unknown(self.arguments.handle.clone())
    }

    /// The file of a container that is up.
    fn opened(&self) -> Result<(HandleFile, HandleRecord), NetworkerError> {
        let mut file = self.handles.open(&self.arguments.handle, false)?.ok_or_else(|| self.unknown())?;
        let record = file.read()?.ok_or_else(|| self.unknown())?;
        Ok((file, record))
    }

    fn net_out(&self, more: Vec<NetOutRule>) -> Result<(), NetworkerError> {
        let (mut file, before) = self.opened()?;
        let mut record = before.clone();
        // Later rules come first.
        record.rules.splice(0..0, more);
        let servers = &self.arguments.dns_servers;
        let policy = policy(&self.arguments.handle, &record.rules, &self.arguments.policy, servers)?;
        file.write(&record)?;
        let set = self.network()?.restrict(&container_id(&self.arguments.handle), &policy);
        set.map_err(|failure| after(failure.into(), file.write(&before)))
    }

    fn net_in(&self, inputs: &NetInInputs) -> Result<NetIn, NetworkerError> {
        let (_file, record) = self.opened()?;
        let wanted = NetIn { host_port: inputs.host_port, container_port: inputs.container_port };
        let port = wanted.to_mapping(self.arguments.ports.external_ip);
        let container = container_id(&self.arguments.handle);
        let published = self.network()?.publish(&container, &namespace_of(record.pid), &[port])?;
        let given = published.first().unwrap_or(&port);
        Ok(NetIn { host_port: given.host_port, container_port: given.container_port })
    }
}

/// A failure, and what came of undoing it.
fn after(first: NetworkerError, undone: Result<(), NetworkerError>) -> NetworkerError {
    match undone {
        Ok(()) => first,
        Err(second) => NetworkerError::Undo { first: Box::new(first), second: Box::new(second) },
    }
}

#[cfg(test)]
mod tests;
